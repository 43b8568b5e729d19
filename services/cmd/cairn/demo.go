package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"cairn.care/services/chassis"
	"cairn.care/services/demo"
)

func demoCommand() *cobra.Command {
	var exit bool
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Start everything, load a sample directory, walk one referral round its loop, and keep serving",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if !cmd.Flags().Changed("log-level") { // the walk is what a person wants to read
				if err := cmd.Flags().Set("log-level", "warn"); err != nil {
					return err
				}
			}
			ctx, stop := context.WithCancel(cmd.Context())
			defer stop()
			cmd.SetContext(ctx)
			return serve(cmd, func(ctx context.Context, p *chassis.Process, config *chassis.Config) error {
				if !config.DemoClients {
					return errors.New("the walk needs the demo clients: leave --demo-clients on")
				}
				out := cmd.OutOrStdout()
				if err := demo.Walk(ctx, out, server(config, p)); err != nil {
					return err
				}
				if _, err := fmt.Fprint(out, "\nThe loop is closed: sent, matched, accepted, seated, attended, reported back.\n"); err != nil || exit {
					stop()
					return err
				}
				_, err := fmt.Fprintf(out, `
Cairn keeps serving; Ctrl-C stops it.

  REST and reference   http://%[1]s/docs
  gRPC                 %[2]s (reflection is on)
  Health, metrics      http://%[1]s/readyz, http://%[1]s/metrics

Try (from this directory):

  curl -s 'http://%[1]s/v1/groups:search?languages=es&cancerTypes=breast'
  curl -s -H "Authorization: Bearer $(bin/cairn token --client demo-hospital --http %[1]s --data-dir %[3]s)" http://%[1]s/v1/referrals
`, p.HTTPAddr, p.GRPCAddr, config.DataDir)
				return err
			})
		},
	}
	cmd.Flags().BoolVar(&exit, "exit", false, "end after the walk; the exit code tells whether the loop closed")
	return cmd
}
