package web_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
)

// browser is a real Chromium, one for a test and its subtests.
type browser struct {
	t   testing.TB
	ctx context.Context
}

// patience bounds what must happen, and only says when a test gives up.
const patience = time.Minute

func startBrowser(t testing.TB) *browser {
	t.Helper()
	path, err := exec.LookPath("chromium")
	if err != nil {
		t.Fatalf("these tests need a real browser: install the package chromium (%v)", err)
	}
	ctx, stop := chromedp.NewExecAllocator(context.Background(), chromedp.NoFirstRun, chromedp.NoSandbox, chromedp.DisableGPU, chromedp.Headless,
		chromedp.ExecPath(path), chromedp.UserDataDir(t.TempDir()), chromedp.Flag("disable-background-networking", true),
		chromedp.Flag("disable-component-update", true), chromedp.Flag("disable-sync", true), chromedp.Flag("disable-dev-shm-usage", true), chromedp.Flag("hide-scrollbars", true))
	t.Cleanup(stop)
	ctx, end := chromedp.NewContext(ctx)
	t.Cleanup(end)
	if err := chromedp.Do(ctx); err != nil {
		t.Fatalf("start chromium: %v", err)
	}
	return &browser{t, ctx}
}

type action = chromedp.Action[chromedp.Void]

// tab is a tab with cookies of its own.
type tab struct {
	t   testing.TB
	ctx context.Context
	w   *world
}

func (b *browser) tab(t testing.TB, w *world, setup ...action) *tab {
	t.Helper()
	ctx, end := chromedp.NewContext(b.ctx, chromedp.WithNewBrowserContext())
	t.Cleanup(end)
	v := &tab{t, ctx, w}
	if err := chromedp.Do(ctx, setup...); err != nil { // without a limit in time, which would be that of the tab
		t.Fatal(err)
	}
	return v
}

func (v *tab) run(actions ...action) {
	v.t.Helper()
	ctx, cancel := context.WithTimeout(v.ctx, patience)
	defer cancel()
	if err := chromedp.Do(ctx, actions...); err != nil {
		v.t.Fatal(err)
	}
}

func (v *tab) open(path string) {
	v.t.Helper()
	v.run(chromedp.Navigate(v.w.srv.URL + path))
	v.within(`document.querySelector("main") !== null`)
}

func (v *tab) signIn(token string) {
	v.t.Helper()
	v.open("/login")
	v.run(chromedp.SendKeys("#token", token))
	v.follow(chromedp.Submit("#token"))
	v.within(`document.querySelector("nav") !== null`)
}

func size(width, height int64) action {
	return chromedp.EmulateViewport(width, height)
}

func dark() action {
	return chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
		_, err := cdp.Call(ctx, t, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
			Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: "dark"}},
		})
		return err
	})
}

func noScript() action {
	return chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
		_, err := cdp.Call(ctx, t, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: true})
		return err
	})
}

// ask runs an action that gives something.
func ask[T any](v *tab, a chromedp.Action[T]) T {
	v.t.Helper()
	ctx, cancel := context.WithTimeout(v.ctx, patience)
	defer cancel()
	got, err := chromedp.Run(ctx, a)
	if err != nil {
		v.t.Fatal(err)
	}
	return got
}

// shoot keeps a screenshot of the whole page.
func (v *tab) shoot(dir, name string) {
	v.t.Helper()
	v.keep(dir, name, ask(v, chromedp.FullScreenshot(100)))
}

func (v *tab) keep(dir, name string, png []byte) {
	v.t.Helper()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		v.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, name+".png"), png, 0o644); err != nil {
		v.t.Fatal(err)
	}
}
