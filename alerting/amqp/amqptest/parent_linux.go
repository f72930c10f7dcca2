package amqptest

import (
	"os/exec"
	"syscall"
)

// dieWithParent ends the command when the test is killed and its cleanups do
// not run.
func dieWithParent(c *exec.Cmd) {
	c.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}
