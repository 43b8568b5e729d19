package main

import (
	"errors"
	"fmt"
	"io/fs"

	"github.com/spf13/cobra"

	"cairn.care/services/chassis/crypt"
)

func keysCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "encryption-keys FILE",
		Short: "Make the keys that encrypt personal data, for encryption_keys_file",
		Long: `Writes new encryption keys to a file that does not exist yet, readable by its owner only.
Whoever loses them loses the personal data for good: keep a copy apart from the data.
cairn serve makes such a file by itself, in the data directory.`,
		Args: oneFile,
		RunE: func(cmd *cobra.Command, args []string) error {
			if _, err := crypt.Generate(args[0]); err != nil {
				if errors.Is(err, fs.ErrExist) {
					return fmt.Errorf("%s is there already: keys are never overwritten", args[0])
				}
				return err
			}
			_, err := fmt.Fprintf(cmd.OutOrStdout(), "Made %s.\n", args[0])
			return err
		},
	}
}
