package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/spf13/cobra"

	"cairn.care/services/chassis"
	"cairn.care/services/chassis/audit"
	"cairn.care/services/chassis/embedded"
	"cairn.care/services/chassis/pg"
)

func auditCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "audit", Short: "Look after the record of who saw whose data", Args: cobra.NoArgs}
	cmd.AddCommand(verifyCommand())
	return cmd
}

func verifyCommand() *cobra.Command {
	var against string
	cmd := &cobra.Command{
		Use:   "verify [--against FILE]",
		Short: "Find rows of the audit log that were changed, are missing or were put in later",
		Long: `Holds the audit log of every service against its hash chain, on the PostgreSQL of the configuration; a Cairn that runs may
go on. It prints an anchor for each service: keep them where whoever runs the database cannot write. With --against it also
finds out whether everything up to an earlier anchor is as it was then, which is the only way to notice that the end was cut
off or that log and chain were made anew. It ends with an error if anything is wrong.`,
		Example: `  cairn audit verify > anchors-2027-03.txt
  cairn audit verify --against anchors-2027-03.txt`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			config, err := loadConfig(cmd)
			if err != nil {
				return err
			}
			var anchors map[string][]audit.Anchor
			if against != "" {
				if anchors, err = readAnchors(against); err != nil {
					return err
				}
			}
			options := pg.Options{AdminURL: config.PostgresURL, PasswordFile: config.PostgresPasswordFile}
			if options.AdminURL == "" {
				var done func() error
				if options.AdminURL, done, err = embedded.ReachPostgres(cmd.Context(), config.Path("postgres"), nil); err != nil {
					return err
				}
				defer func() { err = errors.Join(err, done()) }()
			}
			return verifyAll(cmd.Context(), options, anchors, cmd.OutOrStdout())
		},
	}
	cmd.Flags().StringVar(&against, "against", "", "what an earlier verify printed: what stood then must still stand")
	return cmd
}

// verifyAll verifies every service's log that is on the server.
func verifyAll(ctx context.Context, o pg.Options, anchors map[string][]audit.Anchor, out io.Writer) error {
	faults, found := 0, 0
	for _, service := range withData(components()) {
		report, err := verifyOne(ctx, o, service, anchors[service])
		if e, ok := errors.AsType[*pgconn.PgError](err); ok && e.Code == "3D000" { // no such database
			if len(anchors[service]) > 0 {
				return fmt.Errorf("%s: there are anchors of it, but it has no database on this server", service)
			}
			continue
		}
		if err != nil {
			return fmt.Errorf("%s: %w", service, err)
		}
		found++
		faults += len(report.Problems)
		if err := tellReport(out, service, report); err != nil {
			return err
		}
	}
	switch {
	case found == 0:
		return errors.New("no service of Cairn's has a database on this server")
	case faults > 0:
		return fmt.Errorf("the audit log is not what it was: %d faults", faults)
	}
	return nil
}

func verifyOne(ctx context.Context, o pg.Options, service string, anchors []audit.Anchor) (*audit.Report, error) {
	o.Service = service
	name := "cairn_" + service
	db, err := pg.Connect(ctx, o, name, name)
	if err != nil {
		return nil, err
	}
	defer db.Close()
	return audit.Verify(ctx, db, anchors)
}

func tellReport(out io.Writer, service string, r *audit.Report) error {
	words := "nothing is wrong"
	if n := len(r.Problems); n > 0 {
		words = fmt.Sprintf("%d faults", n)
	}
	if r.Pending > 0 {
		words = fmt.Sprintf("%d not chained yet, %s", r.Pending, words)
	}
	if _, err := fmt.Fprintf(out, "%s: %d records, %s\n", service, r.Rows, words); err != nil {
		return err
	}
	for _, p := range r.Problems {
		if _, err := fmt.Fprintf(out, "  %s\n", p); err != nil {
			return err
		}
	}
	if r.End.Position == 0 {
		return nil
	}
	_, err := fmt.Fprintf(out, "anchor %s %s\n", service, r.End)
	return err
}

// withData are the names of the components that have a database.
func withData(all []chassis.Component) []string {
	var names []string
	for _, c := range all {
		if c.Migrations != nil {
			names = append(names, c.Name)
		}
	}
	return names
}

// readAnchors reads the anchors in what verify has printed, by service.
func readAnchors(path string) (map[string][]audit.Anchor, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close() //nolint:errcheck // read only
	anchors, known := map[string][]audit.Anchor{}, withData(components())
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		rest, ok := strings.CutPrefix(lines.Text(), "anchor ")
		if !ok {
			continue
		}
		service, text, _ := strings.Cut(rest, " ")
		if !slices.Contains(known, service) {
			return nil, fmt.Errorf("%s: there is no service %q", path, service)
		}
		a, err := audit.ParseAnchor(text)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		anchors[service] = append(anchors[service], a)
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if len(anchors) == 0 {
		return nil, fmt.Errorf("%s holds no anchor: give what cairn audit verify has printed", path)
	}
	return anchors, nil
}
