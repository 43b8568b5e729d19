package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/http/pprof"
	"sync"
	"time"

	"cairn.care/services/chassis"
	"cairn.care/services/chassis/embedded"
	"cairn.care/services/chassis/pg"
	"cairn.care/services/demo"
	"cairn.care/services/gateway"
	"cairn.care/services/groups"
	"cairn.care/services/membership"
	"cairn.care/services/partners"
	"cairn.care/services/referral"
	"cairn.care/services/scheduling"
)

// serveCommand makes this program the server that it measures: all of Cairn on the data in a
// directory, until its input ends.
const serveCommand = "serve-for-bench"

// serve is the server process.
func serve(ctx context.Context, dir string, in io.Reader, out io.Writer) (err error) {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	go func() {
		defer stop() // however the input ends, so does the server
		if _, err := io.Copy(io.Discard, in); err != nil {
			return
		}
	}()
	config := chassis.DefaultConfig()
	config.DataDir, config.DemoClients = dir, true
	config.HTTP, config.GRPC = "127.0.0.1:0", "127.0.0.1:0"
	config.LogLevel = "warn"
	config.RateLimit = 0               // one client makes all of the load
	config.AllowPrivateOutbound = true // webhooks come back to this machine
	if config.BootstrapFile, err = demo.EnsureClients(config.Path("demo")); err != nil {
		return err
	}
	postgres, err := embedded.StartPostgres(ctx, config.Path("postgres"), nil)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, postgres.Stop()) }()
	config.PostgresURL = postgres.URL()

	y := &yardsticks{dir: dir, adminURL: postgres.URL(), dbs: map[string]*pg.DB{}, admins: map[string]*pg.DB{}}
	defer y.close()
	var mu sync.Mutex // databases are opened several at a time
	options := chassis.Options{
		Name: "bench", Embedded: true,
		OpenDB: func(ctx context.Context, service string, migrations fs.FS) (*pg.DB, error) {
			db, err := pg.Open(ctx, pg.Options{AdminURL: config.PostgresURL, Service: service, Migrations: migrations})
			mu.Lock()
			defer mu.Unlock()
			y.dbs[service] = db
			return db, err
		},
	}
	started := func(_ context.Context, p *chassis.Process) error {
		return json.NewEncoder(out).Encode(addresses{HTTP: p.HTTPAddr, GRPC: p.GRPCAddr})
	}
	return chassis.Serve(ctx, config, options, started,
		partners.Component(), groups.Component(), membership.Component(),
		scheduling.Component(), referral.Component(), gateway.Component(), y.component())
}

// component serves the yardsticks and what is asked of them on the HTTP listener.
func (y *yardsticks) component() chassis.Component {
	return chassis.Component{Name: "bench", Start: func(_ context.Context, h *chassis.Host) error {
		h.HandleHTTP("GET /bench/groups/{id}", y.handwritten(h))
		h.HandleHTTP("POST /bench/usage", endpoint(func(context.Context, struct{}) (usage, error) { return ownUsage(y.dir) }))
		h.HandleHTTP("POST /bench/load", endpoint(y.load))
		h.HandleHTTP("POST /bench/backlog", endpoint(y.backlog))
		h.HandleHTTP("POST /bench/written", endpoint(y.written))
		h.HandleHTTP("POST /bench/analyze", endpoint(y.analyze))
		h.HandleHTTP("POST /bench/events", endpoint(y.events))
		h.HandleHTTP("POST /bench/window", endpoint(y.startWindow))
		h.HandleHTTP("POST /bench/window/state", endpoint(y.windowNow))
		h.HandleHTTP("POST /bench/directory/load", endpoint(y.loadDirectory))
		h.HandleHTTP("POST /bench/directory/change", endpoint(y.changeDirectory))
		h.HandleHTTP("POST /bench/directory/mark", endpoint(y.mark))
		h.HandleHTTP("GET /bench/profile", http.HandlerFunc(pprof.Profile))
		return nil
	}}
}

// endpoint answers POST with JSON in and out.
func endpoint[In, Out any](fn func(context.Context, In) (Out, error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var in In
		err := json.NewDecoder(r.Body).Decode(&in)
		var out Out
		if err == nil {
			out, err = fn(r.Context(), in)
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		if err := json.NewEncoder(w).Encode(out); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
		}
	})
}

// loadRequest asks for a stretch of one of the server's own operations.
type loadRequest struct {
	Name string        `json:"name"`
	For  time.Duration `json:"for"`
}

func (y *yardsticks) load(ctx context.Context, r loadRequest) (sample, error) {
	op, err := y.operation(ctx, r.Name)
	if err != nil {
		return sample{}, err
	}
	before, err := ownUsage(y.dir)
	if err != nil {
		return sample{}, err
	}
	s, err := load(ctx, r.For, op)
	if err != nil {
		return sample{}, fmt.Errorf("%s: %w", r.Name, err)
	}
	after, err := ownUsage(y.dir)
	s.Server, s.Postgres = after.Server-before.Server, after.Postgres-before.Postgres
	return s, err
}
