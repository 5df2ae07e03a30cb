package storagetest

import (
	"os/exec"
	"syscall"
)

// endWithTests makes the kernel end a server whose tests were killed and could not clean up.
func endWithTests(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }
