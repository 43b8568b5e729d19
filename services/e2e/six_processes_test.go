package e2e_test

import (
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"cairn.care/services/chassis/crypt"
	"cairn.care/services/chassis/embedded"
	"cairn.care/services/demo"
)

// TestSixProcesses walks the referral round its loop with every service a process of its own,
// over TCP with mutual TLS, on a PostgreSQL and a NATS server that are processes' own too.
func TestSixProcesses(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	log := slog.New(slog.DiscardHandler)
	postgres, err := embedded.StartPostgres(t.Context(), shortDir(t), log, embedded.Throwaway())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := postgres.Stop(); err != nil {
			t.Error(err)
		}
	})
	nats, err := embedded.StartNATS(t.Context(), dir+"/nats", log, embedded.Listen("127.0.0.1", -1))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nats.Stop)
	bootstrap, err := demo.EnsureClients(dir + "/demo")
	if err != nil {
		t.Fatal(err)
	}
	encryption := dir + "/encryption.json"
	if _, err := crypt.Generate(encryption); err != nil {
		t.Fatal(err)
	}
	files := makeSecrets(t, dir)

	names := []string{"partners", "groups", "membership", "scheduling", "referral", "gateway"}
	grpcAddr, httpAddr, peers := map[string]string{}, map[string]string{}, []string{}
	for _, name := range names {
		grpcAddr[name], httpAddr[name] = freeAddr(t), freeAddr(t)
		peers = append(peers, name+"="+grpcAddr[name])
	}
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: files.client}}
	t.Cleanup(client.CloseIdleConnections)
	programs := map[string]*program{}
	for _, name := range names {
		flags := []string{
			"--http", httpAddr[name], "--grpc", grpcAddr[name], "--public-url", "https://" + httpAddr["gateway"],
			"--postgres-url", postgres.URL(), "--nats-url", nats.URL(), "--peers", strings.Join(peers, ","),
			"--identity-keys-file", files.identity, "--encryption-keys-file", encryption,
			"--tls-cert-file", files.cert, "--tls-key-file", files.key, "--tls-ca-file", files.ca,
		}
		if name == "partners" {
			flags = append(flags, "--bootstrap-file", bootstrap)
		}
		programs[name] = run(t, name, flags...)
	}
	for _, name := range names {
		programs[name].ready(t, client, "https://"+httpAddr[name])
	}

	server := demo.Server{
		HTTP: "https://" + httpAddr["gateway"], GRPC: func(service string) string { return grpcAddr[service] },
		Dir: dir + "/demo", TLS: files.client,
	}
	added, err := demo.Load(t.Context(), server)
	if err != nil {
		t.Fatal(err)
	}
	if added < 80 {
		t.Errorf("loaded %d groups, want 80 or more", added)
	}
	var said strings.Builder
	if err := demo.Walk(t.Context(), &said, server); err != nil {
		t.Fatalf("%v\n%s", err, &said)
	}
	isOutAtOnce(t, client, server)
	for _, name := range names {
		if err := programs[name].stop(t); err != nil {
			t.Errorf("%s ended with %v after SIGTERM; want a clean end", name, err)
		}
	}
}

// isOutAtOnce disables a client whose token has just opened doors: it opens none any more, at whichever service, also through the gateway, which
// hears of nothing itself.
func isOutAtOnce(t *testing.T, client *http.Client, server demo.Server) {
	t.Helper()
	token := func(client string) string {
		t.Helper()
		token, err := server.Token(t.Context(), client)
		if err != nil {
			t.Fatal(err)
		}
		return token
	}
	call := func(token, method, path, body string) int {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), method, server.HTTP+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+token)
		if body != "" {
			req.Header.Set("Content-Type", "application/json")
		}
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		if err := resp.Body.Close(); err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode
	}
	doors := []string{"/v1/referrals", "/v1/members", "/v1/feeds", "/v1/series", "/v1/apiClients", "/fhir/R4/Task"}
	nonprofit := token(demo.Nonprofit)
	for _, door := range doors {
		if code := call(nonprofit, http.MethodGet, door, ""); code != http.StatusOK {
			t.Fatalf("GET %s answered %d", door, code)
		}
	}
	if code := call(token(demo.App), http.MethodPatch, "/v1/apiClients/"+demo.Nonprofit, `{"disabled": true}`); code != http.StatusOK {
		t.Fatalf("disabling answered %d", code)
	}
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	end := time.Now().Add(30 * time.Second)
	for _, door := range doors {
		for call(nonprofit, http.MethodGet, door, "") != http.StatusUnauthorized {
			if time.Now().After(end) {
				t.Fatalf("GET %s is still open", door)
			}
			<-tick.C
		}
	}
}
