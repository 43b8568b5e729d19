// Command bench measures Cairn beside what it could be at best on the same machine, in the same
// run, and prints one table.
//
//	go run ./bench                # everything, five rounds
//	go run ./bench -run rest      # one item
//
// It starts all of Cairn in a process of its own, on a PostgreSQL with fsync on and a JetStream
// with its streams on disk, in a temporary directory that it removes. Everything that a request
// passes in production is on: a bearer token from the built-in issuer, policy, validation,
// idempotency, audit, row-level security, metrics, and traces of 1% of the requests. The rounds of
// a figure and of its yardstick alternate, every answer is checked, and the medians are printed.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// item is one thing that is measured.
type item struct {
	name string
	run  func(ctx context.Context, b *bench) error
}

func items() []item {
	return []item{
		{"grpc", benchGRPC},
		{"rest", benchREST},
		{"rls", benchRowSecurity},
		{"create", benchCreate},
		{"fhir", benchFHIR},
		{"events", benchEvents},
		{"webhook", benchWebhook},
		{"join", benchJoin},
		{"recurrence", benchRecurrence},
		{"calendar", benchCalendar},
		{"window", benchWindow},
		{"sync", benchSync},
		{"index", benchIndex},
		{"search", benchSearch},
		{"recommend", benchRecommend},
		{"start", benchStart},
	}
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	err := command(ctx, os.Args[1:])
	stop()
	if err != nil {
		fmt.Fprintf(os.Stderr, "bench: %v\n", err)
		os.Exit(1)
	}
}

func command(ctx context.Context, args []string) error {
	if len(args) == 2 && args[0] == serveCommand {
		return serve(ctx, args[1], os.Stdin, os.Stdout)
	}
	var names []string
	for _, i := range items() {
		names = append(names, i.name)
	}
	fs := flag.NewFlagSet("bench", flag.ContinueOnError)
	rounds := fs.Int("rounds", 5, "rounds of each figure and of its yardstick, at least 1")
	sizes := intList{10_000, 100_000, 1_000_000}
	fs.Var(&sizes, "size", "groups in the directories that are searched, separated by commas, least first")
	docs := fs.String("docs", "", "write the figures on searches, and a drawing of them, into this folder")
	run := fs.String("run", strings.Join(names, ","), "what to measure, separated by commas")
	switch err := fs.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		return nil
	case err != nil:
		return err
	case fs.NArg() > 0 || *rounds < 1:
		return errors.New("usage: bench [-rounds N] [-size N,N] [-docs FOLDER] [-run " + strings.Join(names, ",") + "]")
	}
	wanted := strings.Split(*run, ",")
	for _, w := range wanted {
		if !slices.Contains(names, w) {
			return fmt.Errorf("-run %s: there are %s", w, strings.Join(names, ", "))
		}
	}
	return measure(ctx, options{rounds: *rounds, sizes: sizes, docs: *docs}, wanted)
}

// options are what the command line says.
type options struct {
	rounds int
	sizes  []int
	docs   string
}

// intList is a flag of numbers separated by commas.
type intList []int

func (l *intList) String() string { return strings.Trim(fmt.Sprint([]int(*l)), "[]") }

func (l *intList) Set(s string) error {
	*l = nil
	for _, f := range strings.Split(s, ",") {
		n, err := strconv.Atoi(f)
		if err != nil || n < 1000 || len(*l) > 0 && n <= (*l)[len(*l)-1] {
			return errors.New("want numbers from 1000, each greater than the last")
		}
		*l = append(*l, n)
	}
	return nil
}

// measure runs the wanted items one after another and prints the table.
func measure(ctx context.Context, o options, wanted []string) (err error) {
	b, err := newBench(ctx, o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.close()) }()
	for _, i := range items() {
		if !slices.Contains(wanted, i.name) {
			continue
		}
		fmt.Fprintf(os.Stderr, "%s …\n", i.name)
		if err := i.run(ctx, b); err != nil {
			return fmt.Errorf("%s: %w", i.name, err)
		}
	}
	return b.report(os.Stdout)
}
