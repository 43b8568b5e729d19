package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"
)

func tokenCommand() *cobra.Command {
	var a *account
	cmd := &cobra.Command{
		Use:   "token --client demo-hospital|demo-nonprofit|demo-app, or --client-id … --key FILE --scope …",
		Short: "Print an access token of a demo client, or of a registered client with its key",
		Example: `  curl -H "Authorization: Bearer $(cairn token --client demo-hospital)" http://127.0.0.1:8080/v1/referrals
  cairn token --server https://cairn.example --client-id puentes-directory --key puentes.private.jwk --scope "groups.read groups.write"`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if cmd.Flags().Changed("scope") && a.clientID == "" {
				return errors.New("--scope goes with --client-id: a demo client gets all that it may ask for")
			}
			if err := a.open(); err != nil {
				return err
			}
			token, err := a.bearer(cmd.Context())
			if err != nil {
				return err
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), token)
			return err
		},
	}
	a = accountFlags(cmd, "", "groups.read")
	cmd.Flags().StringVar(&a.scopes, "scope", a.scopes, "scopes to ask for with --client-id, separated by spaces")
	return cmd
}
