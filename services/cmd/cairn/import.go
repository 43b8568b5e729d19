package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	partnersv1 "cairn.care/gen/cairn/partners/v1"
	schedulingv1 "cairn.care/gen/cairn/scheduling/v1"
	"cairn.care/services/chassis/clock"
	"cairn.care/services/demo"
	"cairn.care/services/importer"
)

func importCommand() *cobra.Command {
	var format, client string
	var asJSON bool
	o := importer.Options{Clock: clock.System{}}
	cmd := &cobra.Command{
		Use:   "import FILE --format meeting-guide --organization organizations/…",
		Short: "Take a partner's group directory in, and say what was taken and what was not",
		Long: `Takes a partner's group directory into the Cairn that runs at --grpc: groups with their
places into the directory, their times as weekly series into the calendar. Importing the
same file again changes nothing. A row that cannot be taken stops no other; the report
names it, the field and the reason, and the exit code stays 0: count them with --json.`,
		Example: `  cairn import meetings.json --format meeting-guide --time-zone America/Chicago \
    --organization organizations/0192d7a5-1000-7000-8000-000000000001`,
		Args: oneFile,
		RunE: func(cmd *cobra.Command, args []string) error {
			if format != "meeting-guide" {
				return fmt.Errorf("--format %q is not known: there is meeting-guide", format)
			}
			config, err := loadConfig(cmd)
			if err != nil {
				return err
			}
			feed, err := os.Open(args[0])
			if err != nil {
				return fmt.Errorf("feed: %w", err)
			}
			defer feed.Close() //nolint:errcheck // read only
			server := demo.Server{HTTP: "http://" + config.HTTP, GRPC: func(string) string { return config.GRPC }, Dir: config.Path("demo")}
			conn, err := server.Conn(cmd.Context(), client, "cairn")
			if err != nil {
				return err
			}
			defer conn.Close() //nolint:errcheck // the import is over
			// Groups of an organization that does not exist would be in the directory, and nobody's.
			if _, err := partnersv1.NewPartnersServiceClient(conn).GetOrganization(cmd.Context(), &partnersv1.GetOrganizationRequest{Name: o.Organization}); err != nil {
				return fmt.Errorf("--organization: %w", err)
			}
			if !asJSON && isTerminal(os.Stderr) {
				o.Progress = bar(cmd.ErrOrStderr())
			}
			report, err := importer.Run(cmd.Context(), feed, importer.Clients{
				Groups: groupsv1.NewGroupsServiceClient(conn), Scheduling: schedulingv1.NewSchedulingServiceClient(conn),
			}, o)
			if report != nil {
				if perr := printReport(cmd.OutOrStdout(), report, asJSON, o.DryRun); perr != nil {
					return perr
				}
			}
			return err
		},
	}
	f := cmd.Flags()
	f.StringVar(&format, "format", "", "the file's format: meeting-guide")
	f.StringVar(&o.Organization, "organization", "", "whose groups these are, organizations/{uuid}")
	f.StringVar(&o.TimeZone, "time-zone", "", "IANA zone of rows that do not say theirs (default: guessed from the place)")
	f.StringVar(&o.Language, "language", "", "BCP 47 language of rows that do not say theirs (default en)")
	f.StringVar(&o.Source, "source", "", "tells several feeds of one organization apart (default meeting-guide)")
	f.StringVar(&client, "client", demo.App, "the demo client that imports: demo-app, or demo-nonprofit for its own organization")
	f.BoolVar(&o.DryRun, "dry-run", false, "report what would change, and change nothing")
	f.BoolVar(&asJSON, "json", false, "print the report as JSON")
	for _, required := range []string{"format", "organization"} {
		if err := cmd.MarkFlagRequired(required); err != nil {
			panic(err) // the flags are declared above
		}
	}
	return cmd
}

func isTerminal(f *os.File) bool {
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// bar returns a progress function that draws on one line.
func bar(w io.Writer) func(done, total int) {
	const width = 30
	return func(done, total int) {
		if total == 0 {
			return
		}
		full := done * width / total
		fmt.Fprintf(w, "\r[%-*s] %d of %d rows", width, "##############################"[:full], done, total) //nolint:errcheck // a bar that cannot be drawn is no reason to stop
		if done == total {
			fmt.Fprintln(w) //nolint:errcheck // as above
		}
	}
}

func printReport(w io.Writer, r *importer.Report, asJSON, dryRun bool) error {
	if asJSON {
		enc := json.NewEncoder(w)
		enc.SetIndent("", "  ")
		return enc.Encode(r)
	}
	var b strings.Builder // what is written to it cannot fail
	if len(r.RejectedRows) > 0 {
		fmt.Fprintln(&b, "ROW\tFIELD\tVALUE\tREASON")
		for _, x := range r.RejectedRows {
			fmt.Fprintf(&b, "%d\t%s\t%s\t%s\n", x.Row, x.Field, x.Value, x.Reason)
		}
	}
	verb := "Taken"
	if dryRun {
		verb = "Would take"
	}
	c := r.Counts
	fmt.Fprintf(&b, "%s: %d created, %d updated, %d unchanged, %d rejected\n", verb, c.Created, c.Updated, c.Unchanged, c.Rejected)
	tw := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	if _, err := io.WriteString(tw, b.String()); err != nil {
		return err
	}
	return tw.Flush()
}
