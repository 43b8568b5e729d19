package groups

import (
	"context"
	"crypto/x509"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/fieldmaskpb"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	partnersv1 "cairn.care/gen/cairn/partners/v1"
	"cairn.care/services/chassis"
	"cairn.care/services/gateway"
	"cairn.care/services/internal/suitetest"
	"cairn.care/services/partners"
)

// directory is one Cairn of two that follow each other, with an organization of its own.
type directory struct {
	*suitetest.Suite
	groups groupsv1.GroupsServiceClient
	feeds  groupsv1.FeedsServiceClient
	sync   groupsv1.SyncServiceClient

	t      *testing.T
	org    string
	owner  context.Context
	url    string      // as the other reaches it
	away   atomic.Bool // the way there is cut
	cert   *x509.Certificate
	roots  *x509.CertPool // whom it trusts
	follow string         // the feed that follows the other
}

func newDirectory(t *testing.T) *directory {
	t.Helper()
	roots := x509.NewCertPool()
	s := suitetest.Start(t, []chassis.Component{partners.Component(), component(roots), gateway.Component()}, func(c *chassis.Config) {
		c.Peers = map[string]string{"membership": "127.0.0.1:1", "scheduling": "127.0.0.1:1", "referral": "127.0.0.1:1"} // not asked
	})
	conn := s.Conn("groups")
	d := &directory{
		Suite: s, t: t, groups: groupsv1.NewGroupsServiceClient(conn), feeds: groupsv1.NewFeedsServiceClient(conn), sync: groupsv1.NewSyncServiceClient(conn),
	}
	org, err := partnersv1.NewPartnersServiceClient(s.Conn("partners")).CreateOrganization(suitetest.Platform(t.Context(), "partners.write"),
		&partnersv1.CreateOrganizationRequest{Organization: &partnersv1.Organization{DisplayName: "Partner", Kind: partnersv1.Organization_NONPROFIT}})
	if err != nil {
		t.Fatal(err)
	}
	d.org, d.owner = org.GetName(), suitetest.Client(t.Context(), org.GetName(), "groups.read", "groups.write")
	proxy := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: s.HTTPAddr})
	way := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if d.away.Load() {
			panic(http.ErrAbortHandler)
		}
		proxy.ServeHTTP(w, r)
	}))
	t.Cleanup(way.Close)
	d.url, d.cert, d.roots = way.URL, way.Certificate(), roots
	return d
}

// follows makes the feed that takes the other's groups.
func (d *directory) follows(other *directory) {
	d.t.Helper()
	d.roots.AddCert(other.cert)
	f, err := d.feeds.CreateFeed(d.owner, &groupsv1.CreateFeedRequest{Feed: &groupsv1.Feed{
		Format: "cairn", Source: groupsv1.Feed_PULLED, Pull: &groupsv1.Feed_Pull{Uri: other.url + "/v1/directory:changes"}, MaxRemovedPercent: new(int32(100)),
	}})
	if err != nil {
		d.t.Fatal(err)
	}
	d.follow = f.GetName()
}

// pull pulls once and returns how that ended.
func (d *directory) pull() *groupsv1.FeedRun {
	d.t.Helper()
	run, err := d.feeds.PullFeed(d.owner, &groupsv1.PullFeedRequest{Name: d.follow})
	if err != nil {
		d.t.Fatal(err)
	}
	for end := time.Now().Add(time.Minute); run.GetEndTime() == nil; {
		if time.Now().After(end) {
			d.t.Fatalf("the run goes on: %v", run)
		}
		if run, err = d.feeds.GetFeedRun(d.owner, &groupsv1.GetFeedRunRequest{Name: run.GetName()}); err != nil {
			d.t.Fatal(err)
		}
	}
	return run
}

// titles are those of the public groups, with the system that they are from.
func (d *directory) titles() map[string]string {
	d.t.Helper()
	resp, err := d.sync.ListDirectory(d.t.Context(), &groupsv1.ListDirectoryRequest{})
	if err != nil {
		d.t.Fatal(err)
	}
	all := map[string]string{}
	for _, g := range resp.GetGroups() {
		all[g.GetTitle()] = g.GetSourceSystem()
	}
	return all
}

// pullUntil pulls until the directory is as wanted: what changed a moment ago may have to wait for another transaction of the
// same database server.
func (d *directory) pullUntil(want map[string]string) {
	d.t.Helper()
	for end := time.Now().Add(2 * time.Minute); ; {
		run := d.pull()
		if got := d.titles(); maps.Equal(got, want) {
			return
		} else if time.Now().After(end) || run.GetState() != groupsv1.FeedRun_SUCCEEDED {
			d.t.Fatalf("after %v the directory has %v, want %v", run, got, want)
		}
	}
}

func (d *directory) publish(title string) *groupsv1.Group {
	d.t.Helper()
	g, err := d.groups.CreateGroup(d.owner, &groupsv1.CreateGroupRequest{Group: &groupsv1.Group{
		Title: title, Summary: "For people after breast cancer.", Languages: []string{"en"}, Kind: groupsv1.Group_PEER_SUPPORT,
		Facilitation: groupsv1.Group_CO_FACILITATED, Format: groupsv1.Group_ONLINE, CancerTypes: []string{"breast"},
		Online: &groupsv1.Group_Online{Platform: "Zoom", JoinUri: "https://zoom.example/j/1"}, TimeZone: "Europe/Berlin",
	}})
	if err == nil {
		g, err = d.groups.PublishGroup(d.owner, &groupsv1.PublishGroupRequest{Name: g.GetName()})
	}
	if err != nil {
		d.t.Fatal(err)
	}
	return g
}

func (d *directory) edit(g *groupsv1.Group, paths ...string) {
	d.t.Helper()
	if _, err := d.groups.UpdateGroup(d.owner, &groupsv1.UpdateGroupRequest{Group: g, UpdateMask: &fieldmaskpb.FieldMask{Paths: paths}}); err != nil {
		d.t.Fatal(err)
	}
}

// copyOf returns the group that was taken from the other, as its owner here sees it.
func (d *directory) copyOf(origin string) *groupsv1.Group {
	d.t.Helper()
	resp, err := d.groups.ListGroups(d.owner, &groupsv1.ListGroupsRequest{Filter: fmt.Sprintf("external_id = %q", origin)})
	if err != nil || len(resp.GetGroups()) != 1 {
		d.t.Fatalf("copies of %s: %v, %v; want one", origin, resp.GetGroups(), err)
	}
	return resp.GetGroups()[0]
}

// Two Cairns follow each other: what one publishes, changes and deletes the other has at its next pull, nothing goes round in a
// circle, the origin's word counts for what it says, and a day without each other is made up for.
func TestTwoCairnsFollowEachOther(t *testing.T) {
	t.Parallel()
	a, b := newDirectory(t), newDirectory(t)
	a.follows(b)
	b.follows(a)
	alpha, beta := a.publish("Alpha"), a.publish("Beta")
	b.publish("Gamma")

	b.pullUntil(map[string]string{"Alpha": "cairn", "Beta": "cairn", "Gamma": ""})
	a.pullUntil(map[string]string{"Alpha": "", "Beta": "", "Gamma": "cairn"})
	// Neither takes back what it gave, however often they ask.
	for range 2 {
		for _, d := range []*directory{a, b} {
			if run := d.pull(); run.GetState() != groupsv1.FeedRun_SUCCEEDED || run.GetCounts().GetCreated()+run.GetCounts().GetUpdated()+run.GetCounts().GetRemoved() != 0 {
				t.Errorf("a pull without news: %v", run)
			}
		}
	}
	if got := b.titles(); len(got) != 3 {
		t.Errorf("b has %v, want three groups", got)
	}
	taken := b.copyOf(alpha.GetName())
	if got := taken.GetExtensions().GetFields()["cairn"].GetStructValue().GetFields()["organization"].GetStringValue(); got != a.org || taken.GetOnline().GetJoinUri() != "" {
		t.Errorf("the copy is from %q with %v, want from %s and nothing private", got, taken.GetOnline(), a.org)
	}

	// Both edit the same group: the origin wins where it says something new, and leaves alone what it does not speak of.
	b.edit(&groupsv1.Group{Name: taken.GetName(), Title: "Alpha of b", Summary: "Seen by b."}, "title", "summary")
	a.edit(&groupsv1.Group{Name: alpha.GetName(), Title: "Alpha of a"}, "title")
	b.pullUntil(map[string]string{"Alpha of a": "cairn", "Beta": "cairn", "Gamma": ""})
	if got := b.copyOf(alpha.GetName()).GetSummary(); got != "Seen by b." {
		t.Errorf("summary %q, want b's own", got)
	}

	// A day without a way to a: pulls fail and say so, a goes on, and then b catches up, deletions among it.
	a.away.Store(true)
	if run := b.pull(); run.GetState() != groupsv1.FeedRun_FAILED || run.GetError() == "" {
		t.Errorf("a pull without a way: %v", run)
	}
	if _, err := a.groups.DeleteGroup(a.owner, &groupsv1.DeleteGroupRequest{Name: beta.GetName()}); err != nil {
		t.Fatal(err)
	}
	a.publish("Delta")
	a.edit(&groupsv1.Group{Name: alpha.GetName(), Title: "Alpha again"}, "title")
	for _, d := range []*directory{a, b} {
		d.Clock.Advance(24 * time.Hour)
	}
	if got := slices.Sorted(maps.Keys(b.titles())); !slices.Equal(got, []string{"Alpha of a", "Beta", "Gamma"}) {
		t.Errorf("during the day b has %v", got)
	}
	a.away.Store(false)
	b.pullUntil(map[string]string{"Alpha again": "cairn", "Delta": "cairn", "Gamma": ""})
	a.pullUntil(map[string]string{"Alpha again": "", "Delta": "", "Gamma": "cairn"})
}
