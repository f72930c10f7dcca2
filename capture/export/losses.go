package export

type loss struct{}
