package chassis

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"github.com/spf13/pflag"
)

// Main is the main function of a program that hosts components until it is told to stop.
// It never returns.
func Main(name string, components ...Component) {
	fs := pflag.NewFlagSet(name, pflag.ContinueOnError)
	fs.Usage = func() {
		fmt.Fprintf(os.Stderr, "%s is Cairn's %s service as a process of its own.\n\nFlags:\n%s", name, name, fs.FlagUsages())
	}
	AddFlags(fs)
	err := fs.Parse(os.Args[1:])
	if errors.Is(err, pflag.ErrHelp) {
		os.Exit(0)
	}
	if err == nil {
		err = run(name, fs, components)
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", name, err)
		os.Exit(1)
	}
	os.Exit(0)
}

func run(name string, fs *pflag.FlagSet, components []Component) error {
	if fs.NArg() > 0 {
		return fmt.Errorf("%q: flags only", fs.Arg(0))
	}
	config, err := LoadConfig(DefaultConfig(), fs, os.Environ())
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	return Serve(ctx, config, Options{Name: name}, nil, components...)
}

// gcPercent is how much the heap may grow before it is collected, unless the environment says
// GOGC: a service's heap is small, and with Go's default of 100 a tenth of its processor time
// would go into collecting it.
const gcPercent = 300

// Serve runs the components until ctx ends or a part fails, then drains them. Once they
// serve it calls started, if there is one.
func Serve(ctx context.Context, config *Config, o Options, started func(context.Context, *Process) error, components ...Component) error {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	p, err := Start(ctx, config, o, components...)
	if err != nil {
		return err
	}
	if started != nil {
		err = started(ctx, p)
	}
	if err == nil {
		err = p.Wait(ctx)
	}
	stopCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), config.ShutdownTimeout)
	defer cancel()
	return errors.Join(err, p.Stop(stopCtx))
}
