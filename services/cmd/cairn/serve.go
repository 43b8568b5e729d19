package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"cairn.care/services/chassis"
	"cairn.care/services/demo"
)

func serveCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "serve",
		Short: "Start all services, PostgreSQL and JetStream in one process",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return serve(cmd, func(_ context.Context, p *chassis.Process, _ *chassis.Config) error {
				_, err := fmt.Fprintf(cmd.OutOrStdout(), "Cairn serves: REST and reference at http://%s/docs, gRPC at %s. Ctrl-C stops it.\n", p.HTTPAddr, p.GRPCAddr)
				return err
			})
		},
	}
}

// serve runs everything until the command's context ends. With demo clients on it loads the
// sample directory. It calls started once everything serves.
func serve(cmd *cobra.Command, started func(context.Context, *chassis.Process, *chassis.Config) error) error {
	config, err := loadConfig(cmd)
	if err != nil {
		return err
	}
	if config.DemoClients {
		if config.BootstrapFile, err = demo.EnsureClients(config.Path("demo")); err != nil {
			return err
		}
	} else if !chassis.Loopback(config.HTTP) || !chassis.Loopback(config.GRPC) {
		if err := noDemoClients(config); err != nil {
			return err
		}
	}
	if _, err := fmt.Fprintf(cmd.OutOrStdout(), "Starting Cairn on its data in %s (the first start makes PostgreSQL's databases) …\n", config.DataDir); err != nil {
		return err
	}
	return chassis.Serve(cmd.Context(), config, chassis.Options{Name: "cairn", Embedded: true}, func(ctx context.Context, p *chassis.Process) error {
		if config.DemoClients {
			if err := loadSamples(ctx, cmd, server(config, p)); err != nil {
				return err
			}
		}
		return started(ctx, p, config)
	}, components()...)
}

// noDemoClients refuses data with demo clients of an earlier start: switched off, they are not made,
// but those that are there still get tokens.
func noDemoClients(config *chassis.Config) error {
	switch ok, err := demo.HasClients(config.Path("demo")); {
	case err != nil:
		return err
	case ok:
		return fmt.Errorf("%s has demo clients from an earlier start, which still get tokens: beyond loopback addresses (http %s, grpc %s), choose another data directory",
			config.DataDir, config.HTTP, config.GRPC)
	}
	return nil
}

// server is the running Cairn as the demo's callers reach it.
func server(config *chassis.Config, p *chassis.Process) demo.Server {
	return demo.Server{HTTP: "http://" + p.HTTPAddr, GRPC: func(string) string { return p.GRPCAddr }, Dir: config.Path("demo")}
}

func loadSamples(ctx context.Context, cmd *cobra.Command, s demo.Server) error {
	added, err := demo.Load(ctx, s)
	if err != nil {
		return err
	}
	if added > 0 {
		_, err = fmt.Fprintf(cmd.OutOrStdout(), "Loaded %d groups of 8 organizations into the sample directory.\n", added)
	}
	return err
}
