// Command plimsoll is the declaration server that keeps Macs above the line.
package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"
	"syscall"
	"time"

	"github.com/alecthomas/kong"

	"plimsoll/server/app"
)

// version is set when a release is built (-ldflags "-X main.version=…").
var version = ""

type commands struct {
	Serve       app.Options `cmd:"" default:"withargs" help:"Serve Macs, admins and monitors (the default)."`
	Version     struct{}    `cmd:"" help:"Print the version."`
	Healthcheck healthcheck `cmd:"" help:"Exit 0 when the server says that it is ready; for containers."`
}

type healthcheck struct {
	Listen string `default:"127.0.0.1:8080" env:"PLIMSOLL_LISTEN" help:"Address that the server listens on."`
}

// BeforeReset is kong's hook: the environment is read as serve reads it.
func (healthcheck) BeforeReset() error { return app.Options{}.BeforeReset() }

func main() {
	os.Exit(run(os.Args[1:]))
}

// run is the command line: 0 when all went well, 1 when a start failed, 2 for a wrong flag or value.
func run(args []string) int {
	var c commands
	exited := -1
	parser, err := kong.New(&c, kong.Name("plimsoll"), kong.Description("The declaration server that keeps Macs above the line."),
		kong.Vars{"catalog": app.DefaultCatalog}, kong.Exit(func(code int) { exited = code }))
	if err != nil {
		return fail(err, 2)
	}
	parsed, err := parser.Parse(args)
	if exited >= 0 { // --help
		return exited
	}
	if err != nil {
		return fail(err, 2)
	}
	switch parsed.Command() {
	case "version":
		fmt.Println("plimsoll", versionText())
		return 0
	case "healthcheck":
		return check(c.Healthcheck.Listen)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := app.Serve(ctx, c.Serve, versionText(), os.Stdout); err != nil {
		var wrong *app.BadOption
		if errors.As(err, &wrong) {
			return fail(err, 2)
		}
		return fail(err, 1)
	}
	return 0
}

func fail(err error, code int) int {
	fmt.Fprintln(os.Stderr, "plimsoll:", strings.Join(strings.Fields(err.Error()), " "))
	return code
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
func check(listen string) int {
	host, port, _ := strings.Cut(listen, ":")
	if i := strings.LastIndex(listen, ":"); i >= 0 {
		host, port = listen[:i], listen[i+1:]
	}
	if host == "" || host == "0.0.0.0" || host == "[::]" {
		host = "127.0.0.1"
	}
	client := &http.Client{Timeout: 5 * time.Second}
	resp, err := client.Get("http://" + host + ":" + port + "/readyz")
	if err != nil {
		return fail(err, 1)
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return fail(fmt.Errorf("not ready: %s", resp.Status), 1)
	}
	return 0
}
