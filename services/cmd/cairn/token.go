package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"cairn.care/services/demo"
)

func tokenCommand() *cobra.Command {
	var client string
	cmd := &cobra.Command{
		Use:     "token --client demo-hospital|demo-nonprofit|demo-app",
		Short:   "Print an access token of a demo client of the Cairn that runs at --http",
		Example: `  curl -H "Authorization: Bearer $(cairn token --client demo-hospital)" http://127.0.0.1:8080/v1/referrals`,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			config, err := loadConfig(cmd)
			if err != nil {
				return err
			}
			token, err := demo.Server{HTTP: "http://" + config.HTTP, Dir: config.Path("demo")}.Token(cmd.Context(), client)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), token)
			return err
		},
	}
	cmd.Flags().StringVar(&client, "client", "", "demo-hospital, demo-nonprofit or demo-app")
	if err := cmd.MarkFlagRequired("client"); err != nil {
		panic(err) // the flag is declared above
	}
	return cmd
}
