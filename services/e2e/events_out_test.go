package e2e_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"cairn.care/services/chassis/embedded"
)

// watched is a watch over REST: a stream of lines.
type watched struct {
	lines *bufio.Scanner
	stop  func()
}

// toldLine is a line of a watch.
type toldLine struct {
	Result struct {
		Events     []struct{ Type, Subject string }
		NextCursor string
	}
	Error *struct {
		Code    int
		Details []struct{ Reason string }
	}
}

// watch opens a watch of referrals from a cursor on, or from now if it is "".
func (c *caller) watch(t *testing.T, cursor string) *watched {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, c.w.url+"/v1/events:watch?types=care.cairn.referral.*&cursor="+url.QueryEscape(cursor), nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+c.token(t))
	resp, err := (&http.Client{Transport: c.w.http.Transport}).Do(r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		stop()
		if err := resp.Body.Close(); err != nil {
			t.Error(err)
		}
	})
	if got := resp.Header.Get("Content-Type"); resp.StatusCode != http.StatusOK || got != "application/x-ndjson" {
		t.Fatalf("watch: %s, %s", resp.Status, got)
	}
	return &watched{bufio.NewScanner(resp.Body), stop}
}

// next returns the next line.
func (w *watched) next(t *testing.T) (line toldLine) {
	t.Helper()
	if !w.lines.Scan() {
		t.Fatalf("the watch ended: %v", w.lines.Err())
	}
	if err := json.Unmarshal(w.lines.Bytes(), &line); err != nil || line.Error == nil && line.Result.NextCursor == "" {
		t.Fatalf("line %s: %v", w.lines.Bytes(), err)
	}
	return line
}

// hears reads up to an event, and returns the line that it came with.
func (w *watched) hears(t *testing.T, kind, subject string) toldLine {
	t.Helper()
	for {
		line := w.next(t)
		if line.Error != nil {
			t.Fatalf("instead of %s of %s came %s", kind, subject, w.lines.Bytes())
		}
		for _, e := range line.Result.Events {
			if e.Type == kind && e.Subject == subject {
				return line
			}
		}
	}
}

// TestEventsOut has a Cairn that is a process of its own tell a hospital what becomes of its referrals: by a FHIR Subscription, over
// TLS, and by lines, from where they were left until what follows is no longer kept.
func TestEventsOut(t *testing.T) {
	t.Parallel()
	const accepted = "care.cairn.referral.referral.accepted.v1"
	dir, in := shortDir(t), receive(t)
	postgres, err := embedded.StartPostgres(t.Context(), dir+"/postgres", nil, embedded.Throwaway())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := postgres.Stop(); err != nil {
			t.Error(err)
		}
	})
	w, bootstrap := prepareWorld(t)
	httpAddr, grpcAddr := freeAddr(t), freeAddr(t)
	w.url, w.grpcAddr = "http://"+httpAddr, grpcAddr
	start := func() *program {
		p := runWith(t, []string{"SSL_CERT_FILE=" + in.cert}, "cairn", "--allow-private-outbound", "--data-dir", dir+"/data",
			"--http", httpAddr, "--grpc", grpcAddr, "--postgres-url", postgres.URL(), "--bootstrap-file", bootstrap)
		p.ready(t, http.DefaultClient, w.url)
		return p
	}
	cairn := start()
	hospital, nonprofit := w.hospital(t, "Bayou Regional"), w.nonprofit(t, "Puentes")
	group := nonprofit.openGroup(t)
	ehr := w.client(t, hospital.org, "system/*.cruds")

	const backport = "http://hl7.org/fhir/uv/subscriptions-backport/StructureDefinition/backport-"
	id := ehr.fhir(t, http.MethodPost, "/Subscription", obj{
		"resourceType": "Subscription", "meta": obj{"profile": list{backport + "subscription"}}, "status": "requested", "reason": "EHR inbox",
		"criteria": "https://cairn.care/fhir/SubscriptionTopic/task",
		"channel": obj{
			"type": "rest-hook", "endpoint": in.url + "/fhir", "header": list{"Authorization: Bearer of-the-ehr"}, "payload": "application/fhir+json",
			"_payload": obj{"extension": list{obj{"url": backport + "payload-content", "valueCode": "id-only"}}},
		},
	}).want(t, http.StatusCreated, "").text("id")
	named := w.url + "/fhir/R4/Subscription/" + id
	if n := in.notification(t); n.kind != "handshake" || n.status != "requested" || n.number != "0" || n.subscription != named || n.path != "/fhir" ||
		n.header.Get("Authorization") != "Bearer of-the-ehr" {
		t.Errorf("the first is %+v %s, want a handshake", n, n.body)
	}
	until(t, "the subscription is active", func() *reply { return ehr.fhir(t, http.MethodGet, "/Subscription/"+id, nil) },
		func(r *reply) bool { return r.text("status") == "active" })
	watch := hospital.watch(t, "")
	begin := watch.next(t)
	if len(begin.Result.Events) > 0 || begin.Error != nil {
		t.Errorf("the first line is %s, want a cursor at once", watch.lines.Bytes())
	}

	// One over REST and one over FHIR, and what becomes of them.
	overREST := hospital.refer(t, group)
	overFHIR := "referrals/" + ehr.fhir(t, http.MethodPost, "/ServiceRequest", w.request(strings.TrimPrefix(group, "groups/"))).want(t, http.StatusCreated, "").text("id")
	left, numbers := map[string]int{}, map[string]bool{}
	for _, referral := range []string{overREST, overFHIR} {
		nonprofit.accept(t, referral)
		watch.hears(t, accepted, referral)
		left[w.url+"/fhir/R4/Task/"+strings.TrimPrefix(referral, "referrals/")] = len(hospital.get(t, "/v1/events?types=care.cairn.referral.referral.*&subject="+referral).ok(t).list("events"))
	}
	for len(left) > 0 {
		n := in.notification(t)
		if left[n.focus] == 0 || n.kind != "event-notification" || n.status != "active" || n.subscription != named || n.resources != 0 || numbers[n.number] {
			t.Fatalf("then came %+v %s; want %v, each with a number of its own", n, n.body, left)
		}
		if bytes.Contains(n.body, []byte(person)) || bytes.Contains(n.body, []byte("Rosa")) {
			t.Errorf("%s names the person", n.body)
		}
		numbers[n.number] = true
		if left[n.focus]--; left[n.focus] == 0 {
			delete(left, n.focus)
			task := ehr.fhir(t, http.MethodGet, strings.TrimPrefix(n.focus, w.url+"/fhir/R4"), nil).ok(t)
			if task.text("status") != "accepted" {
				t.Errorf("what the notification names is %s", task.body)
			}
		}
	}
	eventually(t, "metrics tell of the webhooks", func() error {
		metrics := w.send(t, http.MethodGet, "/metrics", nil).ok(t).body
		for _, want := range []string{
			`cairn_webhooks_tries_total\{[^}]*outcome="delivered"[^}]*\} [1-9]`, `cairn_webhooks_delay_seconds_count\{[^}]*\} [1-9]`,
			`cairn_webhooks_subscriptions\{[^}]*state="active"[^}]*\} 1\n`, `cairn_webhooks_waiting\{[^}]*\} 0\n`, `cairn_webhooks_overdue_seconds\{[^}]*\} 0\n`,
		} {
			if !regexp.MustCompile(want).Match(metrics) {
				return fmt.Errorf("no %s", want)
			}
		}
		return nil
	})

	// Nothing happens: a sign of life.
	alive := watch.next(t)
	if len(alive.Result.Events) > 0 || alive.Error != nil {
		t.Errorf("then came %s, want a line with a cursor and no events", watch.lines.Bytes())
	}
	watch.stop()

	// A month later.
	if err := cairn.stop(t); err != nil {
		t.Fatal(err)
	}
	partners := connect(t, postgres.URL(), "cairn_partners")
	exec := func(sql string) {
		t.Helper()
		if _, err := partners.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	exec(`UPDATE event_log SET log_time = log_time - interval '31 days'`)
	start()
	old := "cursor=" + url.QueryEscape(begin.Result.NextCursor)
	eventually(t, "what was logged is dropped", func() error {
		if r := hospital.get(t, "/v1/events?"+old); r.status != http.StatusGone {
			return fmt.Errorf("it is there: %s", r.body)
		}
		return nil
	})
	hospital.get(t, "/v1/events:watch?"+old).want(t, http.StatusGone, "CURSOR_EXPIRED")

	// Who had heard it all goes on.
	watch = hospital.watch(t, alive.Result.NextCursor)
	next := hospital.refer(t, group)
	nonprofit.accept(t, next)
	at := watch.hears(t, accepted, next).Result.NextCursor

	// The log is restored from a backup: a watch ends, and its cursor is of no use.
	exec(`UPDATE change_feed SET generation = generation + 1`)
	hospital.refer(t, group)
	for {
		line := watch.next(t)
		if line.Error == nil {
			continue
		}
		if line.Error.Code != 11 || len(line.Error.Details) == 0 || line.Error.Details[0].Reason != "CURSOR_EXPIRED" {
			t.Errorf("the watch ended with %s, want CURSOR_EXPIRED", watch.lines.Bytes())
		}
		break
	}
	hospital.get(t, "/v1/events:watch?cursor="+url.QueryEscape(at)).want(t, http.StatusGone, "CURSOR_EXPIRED")
}
