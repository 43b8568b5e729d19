package main

import (
	"context"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	partnersv1 "cairn.care/gen/cairn/partners/v1"
	"cairn.care/services/demo"
)

// The changes that a webhook and a watch tell of.
const (
	changeRate    = 200 // a second
	changeRound   = 3 * time.Second
	changedGroups = 50
	changeType    = "care.cairn.groups.group.updated.v1"
)

// hook is a system that events are sent to, over TLS as any.
type hook struct {
	server *httptest.Server
	cert   string // file, in PEM: the server that is measured trusts it
	told   *arrivals
}

func newHook(dir string) (*hook, error) {
	h := &hook{told: newArrivals(), cert: filepath.Join(dir, "hook.pem")}
	h.server = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var event struct {
			Subject  string
			Revision int64
		}
		now := time.Now()
		body, err := io.ReadAll(r.Body)
		if err == nil {
			err = json.Unmarshal(body, &event)
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		h.told.at(event.Subject, event.Revision, now)
	}))
	block := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: h.server.Certificate().Raw})
	return h, os.WriteFile(h.cert, block, 0o600)
}

// arrival is a change of a group.
type arrival struct {
	subject  string
	revision int64
}

// arrivals is when changes were heard of, each the first time.
type arrivals struct {
	mu    sync.Mutex
	times map[arrival]time.Time
}

func newArrivals() *arrivals { return &arrivals{times: map[arrival]time.Time{}} }

func (a *arrivals) at(subject string, revision int64, t time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if _, again := a.times[arrival{subject, revision}]; !again {
		a.times[arrival{subject, revision}] = t
	}
}

func (a *arrivals) has(list map[arrival]time.Time) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	for one := range list {
		if _, there := a.times[one]; !there {
			return false
		}
	}
	return true
}

// lag returns how long after they were committed the changes were heard of. The answer to a change comes just after its commit, so
// that it may be heard of before.
func (a *arrivals) lag(committed map[arrival]time.Time) lag {
	a.mu.Lock()
	defer a.mu.Unlock()
	var took []time.Duration
	for one, t := range committed {
		took = append(took, max(0, a.times[one].Sub(t)))
	}
	slices.Sort(took)
	return lag{P50: quantile(took, 0.5), P99: quantile(took, 0.99)}
}

// benchWebhook measures how long it takes until changes of groups are with who watches events over gRPC, and with who receives them
// by webhook, both at once.
func benchWebhook(ctx context.Context, b *bench) (err error) {
	groupsConn, err := b.demo.Conn(ctx, demo.Nonprofit, "groups")
	if err != nil {
		return err
	}
	defer groupsConn.Close() //nolint:errcheck // nothing is under way
	partnersConn, err := b.demo.Conn(ctx, demo.Nonprofit, "partners")
	if err != nil {
		return err
	}
	defer partnersConn.Close() //nolint:errcheck // nothing is under way
	groups := groupsv1.NewGroupsServiceClient(groupsConn)
	names, err := changeable(ctx, groups)
	if err != nil {
		return err
	}
	hooks := partnersv1.NewWebhooksServiceClient(partnersConn)
	w, err := hooks.CreateWebhookSubscription(ctx, &partnersv1.CreateWebhookSubscriptionRequest{WebhookSubscription: &partnersv1.WebhookSubscription{
		Url: b.hook.server.URL, EventTypes: []string{changeType},
	}})
	if err != nil {
		return fmt.Errorf("subscribe: %w", err)
	}
	watching, stop := context.WithCancel(ctx)
	watched := newArrivals()
	var watch errgroup.Group
	watch.Go(func() error { return watched.watch(watching, partnersv1.NewEventsServiceClient(partnersConn)) })
	defer func() {
		stop()
		err = errors.Join(err, watch.Wait())
		_, e := hooks.DeleteWebhookSubscription(context.WithoutCancel(ctx), &partnersv1.DeleteWebhookSubscriptionRequest{Name: w.GetName()})
		err = errors.Join(err, e)
	}()
	all := map[string]*[2][]float64{"watch": {}, "webhook": {}}
	for round := range b.rounds {
		committed, err := change(ctx, groups, names, round)
		if err != nil {
			return err
		}
		for end := time.Now().Add(30 * time.Second); !watched.has(committed) || !b.hook.told.has(committed); time.Sleep(10 * time.Millisecond) {
			if time.Now().After(end) {
				return errors.New("not every change was told within half a minute")
			}
		}
		for who, l := range map[string]lag{"watch": watched.lag(committed), "webhook": b.hook.told.lag(committed)} {
			all[who][0], all[who][1] = append(all[who][0], l.P50.Seconds()*1e3), append(all[who][1], l.P99.Seconds()*1e3)
			fmt.Fprintf(os.Stderr, "  round %d, %s: p50 %s, p99 %s\n", round+1, who, millis(l.P50), millis(l.P99))
		}
	}
	for _, r := range []struct {
		who, what string
		goal      float64
	}{{"watch", "commit to gRPC watcher", 20}, {"webhook", "commit to webhook received, over TLS", 50}} {
		p50, p99 := median(all[r.who][0]), median(all[r.who][1])
		b.table.add(row{
			what: fmt.Sprintf("event, %s, at %d changes/s", r.what, changeRate),
			ours: fmt.Sprintf("p50 %.1f ms, p99 %.1f ms", p50, p99), goal: fmt.Sprintf("p99 < %.0f ms", r.goal), met: p99 < r.goal,
		})
	}
	return nil
}

// watch notes when events come until ctx ends.
func (a *arrivals) watch(ctx context.Context, client partnersv1.EventsServiceClient) error {
	stream, err := client.WatchEvents(ctx, &partnersv1.WatchEventsRequest{Types: []string{changeType}})
	for err == nil {
		var resp *partnersv1.WatchEventsResponse
		if resp, err = stream.Recv(); err == nil {
			now := time.Now()
			for _, e := range resp.GetEvents() {
				a.at(e.GetSubject(), e.GetRevision(), now)
			}
		}
	}
	if ctx.Err() != nil {
		return nil
	}
	return fmt.Errorf("watch: %w", err)
}

// changeable makes groups to change.
func changeable(ctx context.Context, groups groupsv1.GroupsServiceClient) ([]string, error) {
	names := make([]string, changedGroups)
	for i := range names {
		g, err := groups.CreateGroup(ctx, &groupsv1.CreateGroupRequest{Group: &groupsv1.Group{
			Title: fmt.Sprintf("Changing %d", i), Kind: groupsv1.Group_PEER_SUPPORT, Facilitation: groupsv1.Group_PEER_LED, Format: groupsv1.Group_ONLINE,
			Languages: []string{"es"}, CancerTypes: []string{"any"}, TimeZone: "Europe/Madrid",
		}})
		if err != nil {
			return nil, fmt.Errorf("create group: %w", err)
		}
		names[i] = g.GetName()
	}
	return names, nil
}

// change changes groups at the rate and returns when each change was answered.
func change(ctx context.Context, groups groupsv1.GroupsServiceClient, names []string, round int) (map[arrival]time.Time, error) {
	var mu sync.Mutex
	committed := map[arrival]time.Time{}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(clients)
	start := time.Now()
	for i := range int(changeRate * changeRound / time.Second) {
		time.Sleep(time.Until(start.Add(time.Duration(i) * time.Second / changeRate)))
		g.Go(func() error {
			changed, err := groups.UpdateGroup(ctx, &groupsv1.UpdateGroupRequest{Group: &groupsv1.Group{
				Name: names[i%len(names)], Summary: fmt.Sprintf("Change %d of round %d.", i, round),
			}})
			now := time.Now()
			if err != nil {
				return fmt.Errorf("change group: %w", err)
			}
			var revision int64
			if _, err := fmt.Sscanf(strings.Trim(changed.GetEtag(), `"`), "%d", &revision); err != nil {
				return fmt.Errorf("etag %s: %w", changed.GetEtag(), err)
			}
			mu.Lock()
			defer mu.Unlock()
			committed[arrival{changed.GetName(), revision}] = now
			return nil
		})
	}
	return committed, g.Wait()
}
