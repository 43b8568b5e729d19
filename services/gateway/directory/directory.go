// Package directory is the public directory in the formats of the field, for partner nonprofits and finders: services as
// HSDS has them, feeds, and calendars. It has no data: groups come from the groups service as the public sees them, names
// of organizations from the partners service, sessions from scheduling.
package directory

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	partnersv1 "cairn.care/gen/cairn/partners/v1"
	schedulingv1 "cairn.care/gen/cairn/scheduling/v1"
	"cairn.care/services/chassis/auth"
	"cairn.care/services/chassis/clock"
	"cairn.care/services/formats"
)

// Options are what the faces need.
type Options struct {
	Peer      func(service string) grpc.ClientConnInterface // connection to a service
	PublicURL string                                        // under which callers reach the gateway
	Clock     clock.Clock                                   // the system's if nil
	Log       *slog.Logger                                  // none if nil
	FeedPage  int32                                         // groups of a feed that are held at a time; 500 if 0
}

// Route is a path and what answers GET there. An error that is returned, nothing having been written, is answered in the
// gateway's way. The gateway adds what caches need.
type Route struct {
	Path   string // as http.ServeMux has it: "/hsds/v3/services/{id}"
	Handle func(w http.ResponseWriter, r *http.Request) error
}

// Routes are what the faces answer.
type Routes struct {
	Pages   []Route // whole documents
	Secrets []Route // whole documents for who has their link, and nobody else: their paths are not to be logged
	Streams []Route // written as they are read, however long they are
}

// Handlers returns the routes of all faces.
func Handlers(o Options) Routes {
	if o.Clock == nil {
		o.Clock = clock.System{}
	}
	f := &faces{
		log: cmp.Or(o.Log, slog.New(slog.DiscardHandler)), feedPage: cmp.Or(o.FeedPage, 500),
		groups: groupsv1.NewGroupsServiceClient(o.Peer("groups")), sync: groupsv1.NewSyncServiceClient(o.Peer("groups")),
		search: groupsv1.NewDirectoryServiceClient(o.Peer("groups")), partners: partnersv1.NewPartnersServiceClient(o.Peer("partners")),
		calendarsOf: schedulingv1.NewCalendarsServiceClient(o.Peer("scheduling")), publicURL: o.PublicURL, clock: o.Clock,
	}
	return Routes{Pages: append(f.hsds(), f.calendars()...), Secrets: f.secrets(), Streams: f.feeds()}
}

// faces answers for all faces.
type faces struct {
	groups      groupsv1.GroupsServiceClient
	sync        groupsv1.SyncServiceClient
	search      groupsv1.DirectoryServiceClient
	partners    partnersv1.PartnersServiceClient
	calendarsOf schedulingv1.CalendarsServiceClient
	publicURL   string
	clock       clock.Clock
	feedPage    int32
	log         *slog.Logger

	owners owners
}

// anonymous returns a context in which nobody in particular asks: what is answered here is the same for everybody.
func anonymous(ctx context.Context) context.Context {
	return auth.WithPrincipal(ctx, auth.Principal{})
}

// gateway returns a context in which the gateway asks for itself, who else offers groups.
func gateway(ctx context.Context) context.Context {
	return auth.System(anonymous(ctx), "gateway")
}

// listings adds to groups the organizations that offer them.
func (f *faces) listings(ctx context.Context, groups []*groupsv1.Group) ([]formats.Listing, error) {
	byName := map[string]*partnersv1.Organization{}
	for _, g := range groups {
		byName[g.GetOrganization()] = nil
	}
	var mu sync.Mutex
	work, workCtx := errgroup.WithContext(ctx)
	work.SetLimit(8)
	names := make([]string, 0, len(byName))
	for name := range byName {
		names = append(names, name)
	}
	for _, name := range names {
		work.Go(func() error {
			o, err := f.partners.GetOrganization(gateway(workCtx), &partnersv1.GetOrganizationRequest{Name: name})
			if status.Code(err) == codes.NotFound {
				return nil
			}
			if err != nil {
				return fmt.Errorf("get %s: %w", name, err)
			}
			mu.Lock()
			defer mu.Unlock()
			byName[name] = o
			return nil
		})
	}
	if err := work.Wait(); err != nil {
		return nil, err
	}
	out := make([]formats.Listing, len(groups))
	for i, g := range groups {
		out[i] = formats.Listing{Group: g, Organization: byName[g.GetOrganization()]}
	}
	return out, nil
}

// ownersAge is how long it is known who has public groups.
const ownersAge = 30 * time.Second

// ownersTime is how long asking for them may take.
const ownersTime = 10 * time.Second

// owners are the organizations that have public groups, as last asked.
type owners struct {
	mu   sync.Mutex
	at   time.Time
	list []*partnersv1.Organization
}

// publicOwners returns the organizations that have public groups, oldest first. The others are nobody's business. One caller asks for
// all who wait, also when it goes away meanwhile.
func (f *faces) publicOwners(ctx context.Context) ([]*partnersv1.Organization, error) {
	f.owners.mu.Lock()
	defer f.owners.mu.Unlock()
	if now := f.clock.Now(); f.owners.at.IsZero() || now.Sub(f.owners.at) >= ownersAge {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), ownersTime)
		defer cancel()
		list, err := f.askOwners(ctx)
		if err != nil {
			return nil, err
		}
		f.owners.at, f.owners.list = now, list
	}
	return f.owners.list, nil
}

func (f *faces) askOwners(ctx context.Context) ([]*partnersv1.Organization, error) {
	has := map[string]bool{}
	for req := (&groupsv1.ListDirectoryOrganizationsRequest{PageSize: 1000}); ; {
		resp, err := f.sync.ListDirectoryOrganizations(anonymous(ctx), req)
		if err != nil {
			return nil, fmt.Errorf("list organizations of the directory: %w", err)
		}
		for _, name := range resp.GetOrganizations() {
			has[name] = true
		}
		if req.PageToken = resp.GetNextPageToken(); req.PageToken == "" {
			break
		}
	}
	var out []*partnersv1.Organization
	for token := ""; ; {
		resp, err := f.partners.ListOrganizations(gateway(ctx), &partnersv1.ListOrganizationsRequest{PageSize: 200, PageToken: token})
		if err != nil {
			return nil, fmt.Errorf("list organizations: %w", err)
		}
		for _, o := range resp.GetOrganizations() {
			if has[o.GetName()] {
				out = append(out, o)
			}
		}
		if token = resp.GetNextPageToken(); token == "" {
			return out, nil
		}
	}
}

// writeJSON answers with a document.
func writeJSON(w http.ResponseWriter, doc any) error {
	var body bytes.Buffer
	e := json.NewEncoder(&body)
	e.SetEscapeHTML(false)
	if err := e.Encode(doc); err != nil {
		return fmt.Errorf("encode the answer: %w", err)
	}
	w.Header().Set("Content-Type", "application/json")
	if _, err := w.Write(body.Bytes()); err != nil {
		return nil //nolint:nilerr // the caller has gone
	}
	return nil
}
