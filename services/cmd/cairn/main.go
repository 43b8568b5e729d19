// Command cairn runs all of Cairn in one process, on a PostgreSQL and a JetStream of its
// own, and has the tools around it.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"regexp"
	"runtime/debug"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"cairn.care/services/chassis"
	"cairn.care/services/gateway"
	"cairn.care/services/groups"
	"cairn.care/services/membership"
	"cairn.care/services/partners"
	"cairn.care/services/referral"
	"cairn.care/services/scheduling"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second Ctrl-C ends a drain that takes too long
	if err := rootCommand().ExecuteContext(ctx); err != nil {
		fmt.Fprintf(os.Stderr, "cairn: %s\n", words(ctx, err))
		os.Exit(exitCode(err)) //nolint:gocritic // stop only unregisters the signals of a process that ends
	}
}

// exitError is an error with an exit code of its own.
type exitError struct {
	code int
	error
}

// Unwrap returns the error itself.
func (e *exitError) Unwrap() error { return e.error }

// exitCode is the exit code of a command that ends with the error.
func exitCode(err error) int {
	if e, ok := errors.AsType[*exitError](err); ok {
		return e.code
	}
	return 1
}

// grpcPrefix is what gRPC puts before a service's own sentence.
var grpcPrefix = regexp.MustCompile(`rpc error: code = \w+ desc = `)

// words says to a person why a command ended.
func words(ctx context.Context, err error) string {
	if ctx.Err() != nil && (errors.Is(err, context.Canceled) || status.Code(err) == codes.Canceled) {
		return "stopped before it was done"
	}
	return grpcPrefix.ReplaceAllString(err.Error(), "")
}

// oneFile wants the one argument FILE.
func oneFile(cmd *cobra.Command, args []string) error {
	if len(args) != 1 {
		return fmt.Errorf("one FILE is needed, not %d: %s", len(args), cmd.UseLine())
	}
	return nil
}

func rootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "cairn",
		Short: "Peer support after cancer: groups, membership, scheduling and referral behind one API",
		Long: `Cairn connects people living after cancer with the groups that help them.

  cairn demo             start everything, load a sample directory and walk one referral round its loop
  cairn serve            start everything, without the walk
  cairn token            print an access token of a demo client, or of yours
  cairn import           take a partner's group directory in
  cairn export           write the public directory in a feed format
  cairn schedule preview print when a series takes place
  cairn encryption-keys  make the keys that encrypt personal data
  cairn keys prepare     write a new key that nobody uses yet, for services that run apart
  cairn keys rotate      change them while Cairn runs
  cairn keys status      tell how far that is
  cairn keys retire      remove the old ones
  cairn audit verify     find what was changed in the record of who saw whose data

Every setting is a flag (--data-dir), an environment variable (CAIRN_DATA_DIR) and a key
of the configuration file (data_dir); the flag wins over the environment over the file.`,
		Version:      version(),
		SilenceUsage: true, SilenceErrors: true,
	}
	chassis.AddFlags(root.PersistentFlags())
	root.AddCommand(serveCommand(), demoCommand(), tokenCommand(), importCommand(), exportCommand(), keysCommand(), rotationCommand(), scheduleCommand(), auditCommand())
	return root
}

// version says which source the program was built from.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	v := info.Main.Version
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" && !strings.Contains(v, s.Value[:min(12, len(s.Value))]) {
			v += " " + s.Value
		}
	}
	return v + " " + info.GoVersion
}

// components are the services of one process.
func components() []chassis.Component {
	return []chassis.Component{
		partners.Component(), groups.Component(), membership.Component(),
		scheduling.Component(), referral.Component(), gateway.Component(),
	}
}

// loadConfig reads the configuration of a subcommand; demo clients are on unless switched off.
func loadConfig(cmd *cobra.Command) (*chassis.Config, error) {
	base := chassis.DefaultConfig()
	base.DemoClients = true
	return chassis.LoadConfig(base, cmd.Flags(), os.Environ())
}
