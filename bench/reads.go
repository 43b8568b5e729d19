package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"time"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	"cairn.care/services/demo"
)

// quiet is how long no session of a group may begin, so that its answer stays the same.
const quiet = 15 * time.Minute

// quietGroups returns the published groups whose answers stay the same for a while.
func (b *bench) quietGroups(ctx context.Context) ([]*groupsv1.Group, error) {
	all, err := b.publishedGroups(ctx)
	quiets := slices.DeleteFunc(all, func(g *groupsv1.Group) bool {
		next := g.GetAvailability().GetNextSessions()
		return len(next) > 0 && time.Until(next[0].AsTime()) < quiet
	})
	if err == nil && len(quiets) == 0 {
		err = errors.New("the sample directory has no published groups")
	}
	return quiets, err
}

// publishedGroups returns the published groups of the sample directory, as the hospital sees them.
func (b *bench) publishedGroups(ctx context.Context) ([]*groupsv1.Group, error) {
	app, err := b.demo.Conn(ctx, demo.App, "groups")
	if err != nil {
		return nil, err
	}
	defer app.Close() //nolint:errcheck // nothing is under way
	hospital, err := b.demo.Conn(ctx, demo.Hospital, "groups")
	if err != nil {
		return nil, err
	}
	defer hospital.Close() //nolint:errcheck // nothing is under way
	list, err := groupsv1.NewGroupsServiceClient(app).ListGroups(ctx, &groupsv1.ListGroupsRequest{PageSize: 200, Filter: `state = PUBLISHED`})
	if err != nil {
		return nil, fmt.Errorf("list groups: %w", err)
	}
	var out []*groupsv1.Group
	for _, g := range list.GetGroups() {
		seen, err := groupsv1.NewGroupsServiceClient(hospital).GetGroup(ctx, &groupsv1.GetGroupRequest{Name: g.GetName()})
		if err != nil {
			return nil, fmt.Errorf("get group: %w", err)
		}
		out = append(out, seen)
	}
	return out, nil
}

// benchGRPC compares GetGroup over loopback TCP with its statement alone.
func benchGRPC(ctx context.Context, b *bench) error {
	want, err := b.quietGroups(ctx)
	if err != nil {
		return err
	}
	conn, err := b.demo.Conn(ctx, demo.Hospital, "groups")
	if err != nil {
		return err
	}
	defer conn.Close() //nolint:errcheck // nothing is under way
	api := groupsv1.NewGroupsServiceClient(conn)
	next := make([]int, clients)
	p, err := b.alternate(ctx, b.from(func(ctx context.Context, client int) error {
		w := want[(client+next[client]*clients)%len(want)]
		next[client]++
		got, err := api.GetGroup(ctx, &groupsv1.GetGroupRequest{Name: w.GetName()})
		if err == nil && (got.GetName() != w.GetName() || got.GetEtag() != w.GetEtag() || got.GetTitle() != w.GetTitle()) {
			err = fmt.Errorf("got %s %q, want %s %q", got.GetName(), got.GetTitle(), w.GetName(), w.GetTitle())
		}
		return err
	}), b.inside(rawRead))
	if err != nil {
		return err
	}
	ours, yardstick, ratio := p.medians(sample.perSecond)
	cpu, rawCPU, _ := p.medians(sample.serverCPU)
	postgres, rawPostgres, _ := p.medians(sample.postgresCPU)
	b.table.add(row{
		what: "GetGroup, gRPC over loopback TCP / the same statement by pgx alone", goal: "≥ 0.5×",
		ours:      fmt.Sprintf("%s; CPU: server %s, PostgreSQL %s", rate(ours), micros(cpu), micros(postgres)),
		yardstick: fmt.Sprintf("%s; CPU: %s, %s", rate(yardstick), micros(rawCPU), micros(rawPostgres)),
		ratio:     times(ratio), met: ratio >= 0.5,
	})
	return nil
}

// benchREST compares GET /v1/groups/{id} with a handler written by hand.
func benchREST(ctx context.Context, b *bench) error {
	groups, err := b.quietGroups(ctx)
	if err != nil {
		return err
	}
	token, err := b.demo.Token(ctx, demo.Hospital)
	if err != nil {
		return err
	}
	r := &restReader{
		http: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: clients}},
		base: b.demo.HTTP, token: token, groups: groups,
	}
	defer r.http.CloseIdleConnections()
	ours, err := r.reader(ctx, "/v1/")
	if err != nil {
		return err
	}
	byHand, err := r.reader(ctx, "/bench/")
	if err != nil {
		return err
	}
	p, err := b.alternate(ctx, b.from(ours), b.from(byHand))
	if err != nil {
		return err
	}
	o, y, ratio := p.medians(sample.perSecond)
	b.table.add(row{
		what: "GET /v1/groups/{id}, REST / by hand with net/http and encoding/json", goal: "≥ 0.9×",
		ours: rate(o), yardstick: rate(y), ratio: times(ratio), met: ratio >= 0.9,
	})
	o, y, ratio = p.medians(sample.serverCPU)
	op, yp, _ := p.medians(sample.postgresCPU)
	b.table.add(row{
		what: "the same: server's CPU per request, without PostgreSQL's", goal: "≤ 1.2×",
		ours:      fmt.Sprintf("%s (PostgreSQL %s)", micros(o), micros(op)),
		yardstick: fmt.Sprintf("%s (PostgreSQL %s)", micros(y), micros(yp)), ratio: times(ratio), met: ratio <= 1.2,
	})
	return nil
}

// restReader reads groups over HTTP.
type restReader struct {
	http        *http.Client
	base, token string
	groups      []*groupsv1.Group
}

// get returns the body and the ETag of a GET that succeeds.
func (r *restReader) get(ctx context.Context, url string) (body []byte, etag string, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, "", err
	}
	req.Header.Set("Authorization", "Bearer "+r.token)
	resp, err := r.http.Do(req)
	if err != nil {
		return nil, "", err
	}
	defer resp.Body.Close() //nolint:errcheck // read to its end below
	if body, err = io.ReadAll(resp.Body); err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s: %s", url, resp.Status, body)
	}
	return body, resp.Header.Get("ETag"), err
}

// reader returns the operation that reads groups below a path. It has read each group once, and
// the answer said what gRPC says; from then on the answer must be the same to the byte.
func (r *restReader) reader(ctx context.Context, path string) (operation, error) {
	type answer struct {
		url, etag string
		body      []byte
	}
	answers := make([]answer, len(r.groups))
	for i, want := range r.groups {
		a := answer{url: r.base + path + want.GetName()}
		var err error
		if a.body, a.etag, err = r.get(ctx, a.url); err != nil {
			return nil, err
		}
		var got groupsv1.Group
		if err := protojson.Unmarshal(a.body, &got); err != nil {
			return nil, fmt.Errorf("%s: %w", a.url, err)
		}
		if a.etag == "" || !proto.Equal(&got, want) {
			return nil, fmt.Errorf("%s: got ETag %s and %v, want %v", a.url, a.etag, &got, want)
		}
		answers[i] = a
	}
	next := make([]int, clients)
	return func(ctx context.Context, client int) error {
		want := &answers[(client+next[client]*clients)%len(answers)]
		next[client]++
		body, etag, err := r.get(ctx, want.url)
		if err == nil && (etag != want.etag || !bytes.Equal(body, want.body)) {
			err = fmt.Errorf("%s: got ETag %s and %s, want %s and %s", want.url, etag, body, want.etag, want.body)
		}
		return err
	}, nil
}

// benchRowSecurity compares a read under row-level security with one without.
func benchRowSecurity(ctx context.Context, b *bench) error {
	p, err := b.alternate(ctx, b.inside(boundRead), b.inside(unboundRead))
	if err != nil {
		return err
	}
	ours, yardstick, ratio := p.medians(sample.perSecond)
	postgres, plain, _ := p.medians(sample.postgresCPU)
	b.table.add(row{
		what: "read of a group by pgx, row-level security on / off", goal: "≥ 0.8×",
		ours:      fmt.Sprintf("%s; CPU: PostgreSQL %s", rate(ours), micros(postgres)),
		yardstick: fmt.Sprintf("%s; CPU: PostgreSQL %s", rate(yardstick), micros(plain)),
		ratio:     times(ratio), met: ratio >= 0.8,
	})
	return nil
}
