package groups

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"google.golang.org/genproto/googleapis/type/date"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	"cairn.care/services/chassis/aip"
	"cairn.care/services/chassis/auth"
	"cairn.care/services/internal/suitetest"
)

type resource = *groupsv1.Resource

func reading(title string) *groupsv1.Resource {
	return &groupsv1.Resource{
		Kind: groupsv1.Resource_BOOK, Title: title, Summary: "Finding rest again.", Author: "Mira Sol, Tern Press", Isbn: "9783161484100",
		Languages: []string{"en"}, CancerTypes: []string{"breast"}, SideEffects: []groupsv1.Group_SideEffect{groupsv1.Group_FATIGUE}, Cost: groupsv1.Resource_PAID,
	}
}

func (s *suite) resource(t *testing.T, m *groupsv1.Resource) *groupsv1.Resource {
	t.Helper()
	return must[resource](t)(s.CreateResource(s.owner, &groupsv1.CreateResourceRequest{Resource: m}))
}

func (s *suite) vetted(t *testing.T, m *groupsv1.Resource) *groupsv1.Resource {
	t.Helper()
	return must[resource](t)(s.ReviewResource(s.owner, &groupsv1.ReviewResourceRequest{Name: s.resource(t, m).GetName(), ReviewedBy: "Dr Reyes, oncologist"}))
}

// sees checks whether the caller sees the resource.
func (s *suite) sees(t *testing.T, ctx context.Context, name string, want bool) {
	t.Helper()
	_, err := s.GetResource(ctx, &groupsv1.GetResourceRequest{Name: name})
	if want && err != nil {
		t.Errorf("%s: %v, want it seen", name, err)
	}
	if !want {
		refused(t, err, codes.NotFound)
	}
}

// A resource is public once reviewed, hidden when flagged or changed, and back after the next review.
func TestResourceLife(t *testing.T) {
	t.Parallel()
	s := setup(t)
	forged := reading("Rest")
	forged.ReviewedBy, forged.State = "me", groupsv1.Resource_VETTED
	m := s.resource(t, forged)
	if m.GetState() != groupsv1.Resource_UNREVIEWED || m.GetReviewedBy() != "" {
		t.Errorf("created %v, want it unreviewed", m)
	}
	s.sees(t, s.owner, m.GetName(), true)
	s.sees(t, s.platform, m.GetName(), true)
	s.sees(t, s.stranger, m.GetName(), false)
	s.sees(t, s.public, m.GetName(), false)

	_, err := s.ReviewResource(s.owner, &groupsv1.ReviewResourceRequest{Name: m.GetName(), ReviewedBy: "Dr Reyes", ReviewDue: dateOf(s.Clock.Now())})
	refused(t, err, codes.InvalidArgument, "review_due")
	_, err = s.ReviewResource(s.owner, &groupsv1.ReviewResourceRequest{Name: m.GetName(), ReviewedBy: "Dr Reyes", ReviewDue: dateOf(s.Clock.Now().AddDate(5, 0, 1))})
	refused(t, err, codes.InvalidArgument, "review_due")
	_, err = s.ReviewResource(s.stranger, &groupsv1.ReviewResourceRequest{Name: m.GetName(), ReviewedBy: "Dr Reyes"})
	refused(t, err, codes.NotFound)
	m = must[resource](t)(s.ReviewResource(s.owner, &groupsv1.ReviewResourceRequest{Name: m.GetName(), ReviewedBy: "Dr Reyes", Etag: m.GetEtag()}))
	if m.GetState() != groupsv1.Resource_VETTED || m.GetReviewedBy() != "Dr Reyes" || !m.GetReviewTime().AsTime().Equal(s.Clock.Now()) || !proto.Equal(m.GetReviewDue(), dateOf(s.Clock.Now().AddDate(1, 0, 0))) {
		t.Errorf("reviewed %v, want it vetted for a year", m)
	}
	for _, ctx := range []context.Context{s.owner, s.stranger, s.public} {
		if got := must[resource](t)(s.GetResource(ctx, &groupsv1.GetResourceRequest{Name: m.GetName()})); !proto.Equal(got, m) {
			t.Errorf("got %v, want %v", got, m)
		}
	}

	flagged := must[resource](t)(s.FlagMisinformation(s.stranger, &groupsv1.FlagMisinformationRequest{Name: m.GetName(), Reason: "Promises a cure."}))
	if flagged.GetState() != groupsv1.Resource_FLAGGED || len(flagged.GetFlags()) != 0 {
		t.Errorf("the stranger is answered %v, want it flagged, without the owner's part", flagged)
	}
	s.sees(t, s.public, m.GetName(), false)
	s.sees(t, s.stranger, m.GetName(), false)
	_, err = s.FlagMisinformation(s.stranger, &groupsv1.FlagMisinformationRequest{Name: m.GetName(), Reason: "Again."})
	refused(t, err, codes.NotFound)
	_, err = s.FlagMisinformation(s.public, &groupsv1.FlagMisinformationRequest{Name: m.GetName(), Reason: "Again."})
	refused(t, err, codes.Unauthenticated)
	m = must[resource](t)(s.GetResource(s.owner, &groupsv1.GetResourceRequest{Name: m.GetName()}))
	if f := m.GetFlags(); len(f) != 1 || f[0].GetReason() != "Promises a cure." || f[0].GetOrganization() != theirs || f[0].GetFlaggedBy() != "apiClients/test" {
		t.Errorf("the owner is shown %v, want who flagged it and why", f)
	}
	m = must[resource](t)(s.ReviewResource(s.owner, &groupsv1.ReviewResourceRequest{Name: m.GetName(), ReviewedBy: "Dr Reyes"}))
	if len(m.GetFlags()) != 0 {
		t.Errorf("reviewed, it still has %v", m.GetFlags())
	}
	s.sees(t, s.public, m.GetName(), true)

	m = must[resource](t)(s.UpdateResource(s.owner, &groupsv1.UpdateResourceRequest{Resource: &groupsv1.Resource{Name: m.GetName(), Title: "Rest again"}}))
	s.sees(t, s.public, m.GetName(), true)
	_, err = s.UpdateResource(s.stranger, &groupsv1.UpdateResourceRequest{Resource: &groupsv1.Resource{Name: m.GetName(), Title: "Mine"}})
	refused(t, err, codes.NotFound)
	m = must[resource](t)(s.UpdateResource(s.owner, &groupsv1.UpdateResourceRequest{
		Resource: &groupsv1.Resource{Name: m.GetName(), Uri: "https://elsewhere.test"}, UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"uri"}},
	}))
	if m.GetState() != groupsv1.Resource_UNREVIEWED || m.GetReviewedBy() != "" || m.GetReviewTime() != nil || m.GetReviewDue() != nil {
		t.Errorf("with another link it is %v, want it unreviewed", m)
	}
	s.sees(t, s.public, m.GetName(), false)

	_, err = s.DeleteResource(s.stranger, &groupsv1.DeleteResourceRequest{Name: m.GetName()})
	refused(t, err, codes.NotFound)
	m = must[resource](t)(s.ReviewResource(s.owner, &groupsv1.ReviewResourceRequest{Name: m.GetName(), ReviewedBy: "Dr Reyes"}))
	m = must[resource](t)(s.DeleteResource(s.owner, &groupsv1.DeleteResourceRequest{Name: m.GetName(), Etag: m.GetEtag()}))
	s.sees(t, s.public, m.GetName(), false)
	s.sees(t, s.owner, m.GetName(), true)
	for _, err := range []error{
		second(s.UpdateResource(s.owner, &groupsv1.UpdateResourceRequest{Resource: &groupsv1.Resource{Name: m.GetName(), Title: "x"}})),
		second(s.ReviewResource(s.owner, &groupsv1.ReviewResourceRequest{Name: m.GetName(), ReviewedBy: "x"})),
		second(s.FlagMisinformation(s.owner, &groupsv1.FlagMisinformationRequest{Name: m.GetName(), Reason: "x"})),
		second(s.DeleteResource(s.owner, &groupsv1.DeleteResourceRequest{Name: m.GetName()})),
	} {
		refused(t, err, codes.FailedPrecondition, "RESOURCE_DELETED")
	}
	m = must[resource](t)(s.UndeleteResource(s.owner, &groupsv1.UndeleteResourceRequest{Name: m.GetName()}))
	s.sees(t, s.public, m.GetName(), true)
	_, err = s.UndeleteResource(s.owner, &groupsv1.UndeleteResourceRequest{Name: m.GetName(), Etag: `"1"`})
	refused(t, err, codes.Aborted)
	_, err = s.UndeleteResource(s.owner, &groupsv1.UndeleteResourceRequest{Name: m.GetName()})
	refused(t, err, codes.FailedPrecondition, "RESOURCE_NOT_DELETED")

	want := []string{"created", "reviewed", "flagged", "reviewed", "updated", "updated", "reviewed", "deleted", "undeleted"}
	if got := s.events(t, m.GetName()); !slices.Equal(got, want) {
		t.Errorf("told %v, want %v", got, want)
	}
}

// second returns the error of a call.
func second[M any](_ M, err error) error { return err }

// events returns what was told of a resource, in order.
func (s *suite) events(t *testing.T, subject string) []string {
	t.Helper()
	rows, err := s.DBs["groups"].Query(t.Context(), `SELECT split_part(type, '.', 5) FROM outbox WHERE subject = $1 ORDER BY id`, subject)
	if err != nil {
		t.Fatal(err)
	}
	got, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// On its day a resource is marked and told of, once; it stays public, and the next review clears the mark.
func TestResourceReviewDue(t *testing.T) {
	t.Parallel()
	s := setup(t)
	srv := &server{db: s.DBs["groups"], clock: s.Clock}
	s.Clock.Set(time.Date(2027, 3, 1, 12, 0, 0, 0, time.UTC))
	m := must[resource](t)(s.ReviewResource(s.owner, &groupsv1.ReviewResourceRequest{
		Name: s.resource(t, reading("Rest")).GetName(), ReviewedBy: "Dr Reyes", ReviewDue: &date.Date{Year: 2027, Month: 3, Day: 10},
	}))
	deleted := must[resource](t)(s.DeleteResource(s.owner, &groupsv1.DeleteResourceRequest{Name: s.vetted(t, reading("Gone")).GetName()}))
	later := s.vetted(t, reading("Later"))
	sweep := func(want groupsv1.Resource_State) {
		t.Helper()
		for range 2 {
			if err := srv.markDue(auth.System(t.Context(), "groups")); err != nil {
				t.Fatal(err)
			}
		}
		if got := must[resource](t)(s.GetResource(s.public, &groupsv1.GetResourceRequest{Name: m.GetName()})); got.GetState() != want {
			t.Errorf("at %v it is %v, want %v", s.Clock.Now(), got.GetState(), want)
		}
	}
	s.Clock.Set(time.Date(2027, 3, 9, 23, 59, 59, 0, time.UTC))
	sweep(groupsv1.Resource_VETTED)
	s.Clock.Advance(time.Second)
	sweep(groupsv1.Resource_REVIEW_DUE)
	if got := s.events(t, m.GetName()); !slices.Equal(got, []string{"created", "reviewed", "review_due"}) {
		t.Errorf("told %v, want the day told once", got)
	}
	must[resource](t)(s.ReviewResource(s.owner, &groupsv1.ReviewResourceRequest{Name: m.GetName(), ReviewedBy: "Dr Reyes"}))
	sweep(groupsv1.Resource_VETTED)
	s.Clock.Set(time.Date(2029, 1, 1, 0, 0, 0, 0, time.UTC))
	sweep(groupsv1.Resource_REVIEW_DUE)
	if got := must[resource](t)(s.GetResource(s.owner, &groupsv1.GetResourceRequest{Name: deleted.GetName()})); got.GetState() != groupsv1.Resource_VETTED {
		t.Errorf("a deleted one is %v, want it let be", got.GetState())
	}
	list := must[*groupsv1.ListResourcesResponse](t)(s.ListResources(s.owner, &groupsv1.ListResourcesRequest{Filter: "state = REVIEW_DUE", OrderBy: "title"}))
	if len(list.GetResources()) != 2 || list.GetResources()[0].GetName() != later.GetName() {
		t.Errorf("the owner lists %v, want the two that are due", list)
	}
}

func TestSearchResources(t *testing.T) {
	t.Parallel()
	s := setup(t)
	add := func(title string, change func(*groupsv1.Resource)) {
		m := reading(title)
		change(m)
		s.vetted(t, m)
		s.Clock.Advance(time.Minute)
	}
	add("Any", func(m *groupsv1.Resource) { m.CancerTypes = []string{"any"} })
	add("Breast", func(*groupsv1.Resource) {})
	add("Leukaemia", func(m *groupsv1.Resource) { m.CancerTypes = []string{"leukaemia"} })
	add("Blood", func(m *groupsv1.Resource) { m.CancerTypes = []string{"haematological"} })
	add("Español", func(m *groupsv1.Resource) {
		m.Kind, m.Isbn, m.Uri, m.Languages, m.Cost, m.SideEffects = groupsv1.Resource_PODCAST, "", "https://es.test", []string{"es-mx"}, groupsv1.Resource_FREE, nil
		m.Audiences, m.Phases = []groupsv1.Group_Audience{groupsv1.Group_CAREGIVERS}, []groupsv1.Group_Phase{groupsv1.Group_METASTATIC}
	})
	s.resource(t, reading("Unreviewed"))
	hidden := s.vetted(t, reading("Flagged"))
	must[resource](t)(s.FlagMisinformation(s.owner, &groupsv1.FlagMisinformationRequest{Name: hidden.GetName(), Reason: "Wrong."}))

	for name, tt := range map[string]struct {
		req  *groupsv1.SearchResourcesRequest
		want []string
	}{
		"everything":            {&groupsv1.SearchResourcesRequest{}, []string{"Español", "Blood", "Leukaemia", "Breast", "Any"}},
		"a cancer":              {&groupsv1.SearchResourcesRequest{CancerTypes: []string{"leukaemia"}}, []string{"Leukaemia", "Blood", "Any"}},
		"one that nobody names": {&groupsv1.SearchResourcesRequest{CancerTypes: []string{"lung"}}, []string{"Any"}},
		"words":                 {&groupsv1.SearchResourcesRequest{Query: "ESPANOL mira"}, []string{"Español"}},
		"words that do not all": {&groupsv1.SearchResourcesRequest{Query: "espanol cake"}, nil},
		"a language":            {&groupsv1.SearchResourcesRequest{Languages: []string{"es"}}, []string{"Español"}},
		"free":                  {&groupsv1.SearchResourcesRequest{Free: true}, []string{"Español"}},
		"a kind":                {&groupsv1.SearchResourcesRequest{Kinds: []groupsv1.Resource_Kind{groupsv1.Resource_PODCAST, groupsv1.Resource_EXERCISE}}, []string{"Español"}},
		"a side effect":         {&groupsv1.SearchResourcesRequest{SideEffects: []groupsv1.Group_SideEffect{groupsv1.Group_FATIGUE}}, []string{"Blood", "Leukaemia", "Breast", "Any"}},
		"an audience":           {&groupsv1.SearchResourcesRequest{Audiences: []groupsv1.Group_Audience{groupsv1.Group_PATIENTS}}, []string{"Blood", "Leukaemia", "Breast", "Any"}},
		"a phase":               {&groupsv1.SearchResourcesRequest{Phases: []groupsv1.Group_Phase{groupsv1.Group_METASTATIC}}, []string{"Español", "Blood", "Leukaemia", "Breast", "Any"}},
	} {
		for caller, ctx := range map[string]context.Context{"the public": s.public, "the owner": s.owner} {
			got := titles(must[*groupsv1.SearchResourcesResponse](t)(s.SearchResources(ctx, tt.req)).GetResources())
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("%s finds for %s (-want +got):\n%s", name, caller, diff)
			}
			var paged []string
			req := proto.CloneOf(tt.req)
			req.PageSize = 2
			for {
				resp := must[*groupsv1.SearchResourcesResponse](t)(s.SearchResources(ctx, req))
				paged = append(paged, titles(resp.GetResources())...)
				if req.PageToken = resp.GetNextPageToken(); req.GetPageToken() == "" {
					break
				}
			}
			if diff := cmp.Diff(tt.want, paged); diff != "" {
				t.Errorf("%s finds in pages (-want +got):\n%s", name, diff)
			}
		}
	}
	_, err := s.SearchResources(s.public, &groupsv1.SearchResourcesRequest{CancerTypes: []string{"brest"}})
	refused(t, err, codes.InvalidArgument, "cancer_types[0]")
}

func titles(list []*groupsv1.Resource) []string {
	var out []string
	for _, m := range list {
		out = append(out, m.GetTitle())
	}
	return out
}

func TestResourcesRefused(t *testing.T) {
	t.Parallel()
	s := setup(t)
	for name, tt := range map[string]struct {
		change func(*groupsv1.Resource)
		field  string
	}{
		"no title":       {func(m *groupsv1.Resource) { m.Title = " " }, "resource.title"},
		"no kind":        {func(m *groupsv1.Resource) { m.Kind = 0 }, "resource.kind"},
		"no language":    {func(m *groupsv1.Resource) { m.Languages = nil }, "resource.languages"},
		"no cancer":      {func(m *groupsv1.Resource) { m.CancerTypes = nil }, "resource.cancer_types"},
		"unknown cancer": {func(m *groupsv1.Resource) { m.CancerTypes = []string{"brest"} }, "resource.cancer_types[0]"},
		"check digit":    {func(m *groupsv1.Resource) { m.Isbn = "9783161484101" }, "resource.isbn"},
		"no book":        {func(m *groupsv1.Resource) { m.Kind = groupsv1.Resource_LEAFLET }, "resource.isbn"},
		"a trick":        {func(m *groupsv1.Resource) { m.Title = "Rest\u202etser" }, "resource.title"},
	} {
		m := reading("Rest")
		tt.change(m)
		_, err := s.CreateResource(s.owner, &groupsv1.CreateResourceRequest{Resource: m})
		if t.Run(name, func(t *testing.T) { refused(t, err, codes.InvalidArgument, tt.field) }); t.Failed() {
			break
		}
	}
	for isbn, want := range map[string]bool{"9783161484100": true, "9783161484101": false, "316148410X": true, "3161484100": false, "0306406152": true} {
		if validISBN(isbn) != want {
			t.Errorf("ISBN %s: valid is %v, want %v", isbn, !want, want)
		}
	}
	list := must[*groupsv1.ListResourcesResponse](t)(s.ListResources(s.stranger, &groupsv1.ListResourcesRequest{}))
	mine := s.vetted(t, reading("Rest"))
	list = must[*groupsv1.ListResourcesResponse](t)(s.ListResources(s.stranger, &groupsv1.ListResourcesRequest{PageToken: list.GetNextPageToken()}))
	if len(list.GetResources()) != 0 {
		t.Errorf("a stranger lists %v, want its own only", list)
	}
	list = must[*groupsv1.ListResourcesResponse](t)(s.ListResources(s.platform, &groupsv1.ListResourcesRequest{}))
	if diff := cmp.Diff([]*groupsv1.Resource{mine}, list.GetResources(), protocmp.Transform()); diff != "" {
		t.Errorf("the platform lists (-want +got):\n%s", diff)
	}
	bare := suitetest.Client(t.Context(), ours, "members.read") // no access to groups
	s.sees(t, bare, s.resource(t, reading("Draft")).GetName(), false)
	s.sees(t, s.owner, aip.Name("resources", uuid.New()), false)
}
