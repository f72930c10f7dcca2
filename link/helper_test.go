package link

const helperEnv = "VFT_LINK_HELPER"

// helpers are what this test program does when it is started again as another
// process, named in the environment.
var helpers = map[string]func(){}
