package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
	"google.golang.org/protobuf/proto"

	"cairn.care/bench/directory"
	groupsv1 "cairn.care/gen/cairn/groups/v1"
	referralv1 "cairn.care/gen/cairn/referral/v1"
	"cairn.care/services/demo"
)

// recommendGoal is the time in which 99 of 100 recommendations should be made.
const recommendGoal = 30 * time.Millisecond

// benchRecommend measures RecommendGroups in the largest directory: for made-up people, each of whom needs something else.
func benchRecommend(ctx context.Context, b *bench) error {
	d, err := b.directory()
	if err != nil {
		return err
	}
	size := slices.Max(b.sizes)
	if err := b.fill(ctx, d, size); err != nil {
		return err
	}
	conn, err := b.demo.Conn(ctx, demo.Hospital, "referral")
	if err != nil {
		return err
	}
	defer conn.Close() //nolint:errcheck // nothing is under way
	api := referralv1.NewReferralServiceClient(conn)
	reqs := needs(d, searchesOfClass)
	if err := checkRecommendations(ctx, api, reqs); err != nil {
		return err
	}
	for _, clients := range searchClients() {
		before, err := b.server.usage(ctx)
		if err != nil {
			return err
		}
		took, err := recommend(ctx, api, reqs, clients)
		if err != nil {
			return err
		}
		after, err := b.server.usage(ctx)
		if err != nil {
			return err
		}
		cpu := func(d time.Duration) string { return millis(d / time.Duration(len(took))) }
		p99 := quantile(took, 0.99)
		b.table.add(row{
			what: fmt.Sprintf("RecommendGroups over %s groups, %s: p50 / p99", thousands(float64(size)), plural(clients, "client")),
			ours: fmt.Sprintf("%s / %s; CPU: server %s, PostgreSQL %s", millis(quantile(took, 0.5)), millis(p99), cpu(after.Server-before.Server), cpu(after.Postgres-before.Postgres)),
			goal: "p99 < " + millis(recommendGoal), met: p99 < recommendGoal,
		})
	}
	return nil
}

// needs makes n different questions, the same each time.
func needs(d *directory.Directory, n int) []*referralv1.RecommendGroupsRequest {
	s := &seeker{d, rand.New(rand.NewPCG(d.Seed, uint64(n)))} //nolint:gosec // not a secret
	out := make([]*referralv1.RecommendGroupsRequest, n)
	for i := range out {
		needs := &referralv1.Needs{
			CancerTypes: []string{s.commonType()}, Languages: []string{s.language()}, Location: s.near().GetCenter(),
			Phase: groupsv1.Group_Phase(1 + s.IntN(4)), Role: referralv1.Needs_Role(1 + s.IntN(4)), AgeYears: proto.Int32(25 + s.Int32N(55)),
		}
		if s.IntN(3) == 0 {
			needs.SideEffects = []groupsv1.Group_SideEffect{groupsv1.Group_SideEffect(1 + s.IntN(8))}
		}
		if s.IntN(3) == 0 {
			needs.Formats = []groupsv1.Group_Format{groupsv1.Group_Format(1 + s.low(4))}
		}
		out[i] = &referralv1.RecommendGroupsRequest{Needs: needs, Distress: proto.Int32(s.Int32N(11))}
	}
	return out
}

// checkRecommendations asks each question once: what is recommended takes people, has a language or an interpreter, and is told once.
func checkRecommendations(ctx context.Context, api referralv1.ReferralServiceClient, reqs []*referralv1.RecommendGroupsRequest) error {
	helped := 0
	for _, req := range reqs {
		resp, err := api.RecommendGroups(ctx, req)
		if err != nil {
			return err
		}
		seen := map[string]bool{}
		for _, r := range resp.GetRecommendations() {
			g := r.GetGroup()
			understood := slices.Contains(g.GetAccessibility(), groupsv1.Group_INTERPRETER) ||
				slices.ContainsFunc(g.GetLanguages(), func(l string) bool { return strings.HasPrefix(l, req.GetNeeds().GetLanguages()[0]) })
			if seen[g.GetName()] || !g.GetAcceptsIntake() || !understood {
				return fmt.Errorf("%s is recommended for %v: %v", g.GetName(), req, r)
			}
			seen[g.GetName()] = true
		}
		if len(seen) > 0 {
			helped++
		}
	}
	if helped < len(reqs)/2 {
		return fmt.Errorf("groups were recommended to %d of %d only", helped, len(reqs))
	}
	return nil
}

// recommend asks the questions as so many callers; it returns how long each took, sorted.
func recommend(ctx context.Context, api referralv1.ReferralServiceClient, reqs []*referralv1.RecommendGroupsRequest, clients int) ([]time.Duration, error) {
	var next atomic.Int64
	took := make([][]time.Duration, clients)
	g, ctx := errgroup.WithContext(ctx)
	start := time.Now()
	for client := range clients {
		g.Go(func() error {
			for {
				i := int(next.Add(1)) - 1
				if i >= len(reqs) && time.Since(start) >= searchStretch {
					return nil
				}
				runtime.Gosched()
				asked := time.Now()
				if _, err := api.RecommendGroups(ctx, reqs[i%len(reqs)]); err != nil {
					return err
				}
				took[client] = append(took[client], time.Since(asked))
			}
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	all := slices.Concat(took...)
	slices.Sort(all)
	if len(all) == 0 {
		return nil, errors.New("nothing was asked")
	}
	return all, nil
}
