// Command plimsoll is the declaration server that keeps Macs above the line.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"syscall"
	"time"

	"github.com/alecthomas/kong"
	"github.com/mattn/go-isatty"

	"plimsoll/examples/macs/sim"
	"plimsoll/server/app"
	"plimsoll/server/cli"
)

// version is set when a release is built (-ldflags "-X main.version=…").
var version = ""

type commands struct {
	Serve        app.Options `cmd:"" default:"withargs" help:"Serve Macs, admins and monitors (the default)."`
	Version      struct{}    `cmd:""                    help:"Print the version; the same as plimsoll --version."`
	Healthcheck  healthcheck `cmd:""                    help:"Exit 0 when the server says that it is ready; for containers."`
	cli.Commands `   embed:""`
}

type healthcheck struct {
	Listen string `default:"127.0.0.1:8080" env:"PLIMSOLL_LISTEN" help:"Address that the server listens on."`
}

// BeforeReset is kong's hook: the environment of every command is read as that of serve.
func (commands) BeforeReset() error { return app.Options{}.BeforeReset() }

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// run is the command line: 0 when all went well, 1 when it failed, 2 for a wrong flag or value; more statuses are in package cli.
func run(ctx context.Context, args []string, in *os.File, out, errs *os.File) int {
	var c commands
	exited := -1
	parser, err := kong.New(&c, kong.Name("plimsoll"), kong.Description("The declaration server that keeps Macs above the line."),
		kong.Vars{"catalog": app.DefaultCatalog}, kong.Writers(out, errs), kong.Exit(func(code int) { exited = code }))
	if err != nil {
		return cli.Fail(errs, err, cli.ExitUsage)
	}
	if len(args) == 1 && args[0] == "--version" { // no flag of its own: devices has a filter of that name
		args = []string{"version"}
	}
	parsed, err := parser.Parse(args)
	if exited >= 0 { // --help
		return exited
	}
	if err != nil {
		return cli.Fail(errs, err, cli.ExitUsage)
	}
	if err := cli.ReadSecrets(parsed); err != nil {
		return cli.Fail(errs, err, cli.ExitFailed)
	}
	switch parsed.Command() {
	case "version":
		_, err = fmt.Fprintln(out, "plimsoll", versionText())
	case "healthcheck":
		err = check(c.Healthcheck.Listen)
	case "serve":
		err = app.Serve(ctx, c.Serve, versionText(), out)
	default:
		err = parsed.Run(&cli.Env{
			Context: ctx, In: in, Out: out, Err: errs, Version: versionText(),
			Terminal: isatty.IsTerminal(out.Fd()) && isatty.IsTerminal(in.Fd()),
			Serve:    serveDemo, Simulate: simulate, OpenStore: app.OpenStore,
		})
	}
	var wrong *app.BadOption
	switch {
	case err == nil:
		return 0
	case errors.As(err, &wrong):
		return cli.Fail(errs, err, cli.ExitUsage)
	}
	return cli.Fail(errs, err, cli.ExitFailed)
}

// serveDemo starts the server of demo: with its defaults, and neither the environment nor the internet.
func serveDemo(ctx context.Context, port int, folder string) (cli.Server, error) {
	return app.Start(
		ctx,
		app.Demo(net.JoinHostPort("127.0.0.1", fmt.Sprint(port)), "bolt:"+filepath.Join(folder, "plimsoll.db")),
		versionText(),
	)
}

// simulate runs Macs that do not exist, 20 times as fast as real ones.
func simulate(ctx context.Context, url string, n int) error {
	fleet, err := sim.NewFleet(sim.FleetOptions{
		Options: sim.Options{URL: url, World: sim.NewWorld(), Keys: sim.NewKeys(0), Log: func(sim.Event) {}},
		N:       n, Seed: 1, Eager: 1, Poll: 2 * time.Second, Speed: 20,
	})
	if err != nil {
		return err
	}
	return fleet.Run(ctx)
}

func versionText() string {
	if version != "" {
		return version
	}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" && len(s.Value) >= 12 {
				return "dev-" + s.Value[:12]
			}
		}
	}
	return "dev"
}

// check asks the server on this machine whether it is ready.
func check(listen string) error {
	host, port, err := net.SplitHostPort(listen)
	if err != nil {
		return err
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	client := &http.Client{Timeout: 5 * time.Second}
	resp, err := client.Get("http://" + net.JoinHostPort(host, port) + "/readyz")
	if err != nil {
		return err
	}
	defer func() { _, _ = io.Copy(io.Discard, resp.Body); _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("not ready: %s", resp.Status)
	}
	return nil
}
