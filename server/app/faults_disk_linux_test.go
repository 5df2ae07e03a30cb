package app_test

import (
	"net/http"
	"path/filepath"
	"syscall"
	"testing"
	"unsafe"

	"plimsoll/storage/storagetest"
)

// limitFiles sets how large the files of a running process may become, which is a full disk as far as anybody may say so without being root.
func (p *process) limitFiles(bytes uint64) {
	p.t.Helper()
	limit := syscall.Rlimit{Cur: bytes, Max: ^uint64(0)}
	if _, _, errno := syscall.RawSyscall6(syscall.SYS_PRLIMIT64, uintptr(p.cmd.Process.Pid), syscall.RLIMIT_FSIZE, uintptr(unsafe.Pointer(&limit)), 0, 0, 0); errno != 0 {
		p.t.Fatalf("prlimit: %v", errno)
	}
}

// The disk under bolt is full: the process lives and says so, nothing that was acknowledged is lost, and it works again once there is space.
func TestFaultDiskFull(t *testing.T) {
	t.Parallel()
	issuer, flags := behindProxy(t)
	p := start(t, "bolt:"+filepath.Join(t.TempDir(), "p.db"), flags...)
	l := newLoad(t, issuer, p)
	l.report(l.enrolAll(10))
	l.write(3)
	l.enrolMore(100)
	for _, limit := range []uint64{8 << 10, 64 << 10} { // room for nothing but bolt's own two pages, and for some pages
		l.goesOn(50)
		p.limitFiles(limit)
		eventually(t, "readyz says that the disk is full", func() bool { return p.status("/readyz") == http.StatusServiceUnavailable })
		failed := l.stats.ServerErrors.Load()
		eventually(t, "Macs are answered 5xx", func() bool { return l.stats.ServerErrors.Load() > failed })
		if got := p.status("/healthz"); got != http.StatusOK {
			t.Errorf("healthz is answered %d", got)
		}
		storagetest.Await(t, "a policy is refused", func() error {
			status, _, err := l.ask(http.MethodPut, "/v1/policies/unwritten", `{"name": "unwritten", "priority": 1, "updates": {"mode": "none"}}`)
			if err == nil && status != http.StatusServiceUnavailable {
				err = http.ErrNotSupported
			}
			return err
		})
		p.limitFiles(^uint64(0))
		l.ready(p)
	}
	l.goesOn(50)
	p.kill()
	p.run()
	l.kept(p)
	l.listed(p)
	l.inSync(p)
}
