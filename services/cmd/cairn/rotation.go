package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/spf13/cobra"

	"cairn.care/services/chassis"
	"cairn.care/services/chassis/auth"
	"cairn.care/services/chassis/crypt"
	"cairn.care/services/chassis/embedded"
	"cairn.care/services/chassis/pg"
	"cairn.care/services/chassis/rekey"
)

func rotationCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "keys",
		Short: "Rotate the keys that encrypt personal data",
		Long: `Rotates the keys in encryption_keys_file (of cairn serve: keys/encryption.json in the data directory), while Cairn runs:

  cairn keys prepare   where each machine has a file of its own: add new keys that do nothing yet, and copy the file everywhere
  cairn keys rotate    new keys encrypt from now on; the services seal anew what the old ones have sealed
  cairn keys status    how much is left
  cairn keys retire    remove the old keys, once nothing is left

Services follow the file within seconds. What is broken off goes on by itself.`,
		Args: cobra.NoArgs,
	}
	cmd.AddCommand(
		keysStep("prepare", "Add new keys that are known, but do nothing yet", "Added: copy the file to every machine, then rotate.", crypt.Prepare),
		keysStep("rotate", "Let new keys encrypt", "New keys encrypt from now on. cairn keys status tells how much is left under the old ones.", crypt.Rotate),
		keysStatusCommand(), keysRetireCommand(),
	)
	return cmd
}

// keysFile is the file of the keys of the configuration.
func keysFile(config *chassis.Config) string {
	if config.EncryptionKeysFile != "" {
		return config.EncryptionKeysFile
	}
	return config.Path("keys", "encryption.json")
}

func keysStep(use, short, done string, step func(path string) error) *cobra.Command {
	return &cobra.Command{
		Use: use, Short: short, Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			config, err := loadConfig(cmd)
			if err != nil {
				return err
			}
			if err := step(keysFile(config)); err != nil {
				return err
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s: %s\n", keysFile(config), done)
			return err
		},
	}
}

func keysStatusCommand() *cobra.Command {
	return &cobra.Command{
		Use: "status", Short: "Tell which keys there are, and what is left under old ones", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return withKeyed(cmd, func(_ string, ks *crypt.Keyset, services []keyed) error {
				_, err := tellKeys(cmd.Context(), cmd.OutOrStdout(), ks, services)
				return err
			})
		},
	}
}

func keysRetireCommand() *cobra.Command {
	var links bool
	cmd := &cobra.Command{
		Use: "retire", Short: "Remove the old keys, once nothing is left under them", Args: cobra.NoArgs,
		Long: `Removes the keys from before the primary one, if nothing is sealed by them any more; otherwise it says what, and changes nothing.

E-mails that were sent have links that an old key has sealed, by which people stop messages. Those keys stay, for links alone,
unless --drop-links is given: wait with it until nobody needs the old links, or the key has become known.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return withKeyed(cmd, func(path string, ks *crypt.Keyset, services []keyed) error {
				if ks.Prepared() {
					return errors.New("there are keys that are prepared and not primary yet: cairn keys rotate first")
				}
				left, err := tellKeys(cmd.Context(), cmd.OutOrStdout(), ks, services)
				if err != nil {
					return err
				}
				if left > 0 {
					return fmt.Errorf("%d values are left under old keys: nothing was removed", left)
				}
				if err := crypt.Retire(path, links); err != nil {
					return err
				}
				if _, err := ks.Reload(); err != nil {
					return err
				}
				for _, s := range services {
					if err := s.schema.Sweep(auth.System(cmd.Context(), s.name), s.db, ks); err != nil {
						return err
					}
				}
				_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s: the old keys are gone.\n", path)
				return err
			})
		},
	}
	cmd.Flags().BoolVar(&links, "drop-links", false, "remove the old keys of links in e-mails too: those links work no more")
	return cmd
}

// keyed is a service's database and what of it hangs on the keys.
type keyed struct {
	name   string
	db     *pg.DB
	schema rekey.Schema
}

// withKeyed calls fn with the keys and the databases of all services that are on the server.
func withKeyed(cmd *cobra.Command, fn func(path string, ks *crypt.Keyset, services []keyed) error) (err error) {
	config, err := loadConfig(cmd)
	if err != nil {
		return err
	}
	ks, err := crypt.Load(keysFile(config))
	if err != nil {
		return err
	}
	options := pg.Options{AdminURL: config.PostgresURL, PasswordFile: config.PostgresPasswordFile}
	if options.AdminURL == "" {
		var done func() error
		if options.AdminURL, done, err = embedded.ReachPostgres(cmd.Context(), config.Path("postgres"), nil); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, done()) }()
	}
	var services []keyed
	for _, c := range components() {
		if c.Migrations == nil {
			continue
		}
		options.Service = c.Name
		db, err := pg.Connect(cmd.Context(), options, "cairn_"+c.Name, "cairn_"+c.Name)
		if e, ok := errors.AsType[*pgconn.PgError](err); ok && e.Code == "3D000" { // no such database
			continue
		}
		if err != nil {
			return fmt.Errorf("%s: %w", c.Name, err)
		}
		defer db.Close()
		services = append(services, keyed{c.Name, db, c.Keyed()})
	}
	if len(services) == 0 {
		return errors.New("no service of Cairn's has a database on this server")
	}
	return fn(keysFile(config), ks, services)
}

// tellKeys prints the keys and what is left under old ones, and returns how much that is.
func tellKeys(ctx context.Context, out io.Writer, ks *crypt.Keyset, services []keyed) (left int64, err error) {
	primary, _ := ks.Primary()
	_, old := ks.Old()
	words := fmt.Sprintf("key %d encrypts; %d old keys", primary, len(old))
	if ks.Prepared() {
		words += "; new keys are prepared"
	}
	if _, err := fmt.Fprintln(out, words); err != nil {
		return 0, err
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for _, s := range services {
		all, err := s.schema.Left(auth.System(ctx, s.name), s.db, ks)
		if err != nil {
			return 0, fmt.Errorf("%s: %w", s.name, err)
		}
		for _, l := range all {
			left += l.Left
			why := ""
			if l.Left > 0 {
				why = l.Why
			}
			if _, err := fmt.Fprintf(w, "%s\t%s\t%d of %d left\t%s\n", s.name, l.Column, l.Left, l.Total, why); err != nil {
				return 0, err
			}
		}
	}
	return left, w.Flush()
}
