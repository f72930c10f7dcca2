package export

type template struct{}
