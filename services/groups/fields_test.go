package groups

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"
	"google.golang.org/genproto/googleapis/api/annotations"
	"google.golang.org/genproto/googleapis/type/date"
	"google.golang.org/genproto/googleapis/type/latlng"
	"google.golang.org/genproto/googleapis/type/money"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/fieldmaskpb"
	"google.golang.org/protobuf/types/known/structpb"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	typev1 "cairn.care/gen/cairn/type/v1"
	"cairn.care/services/chassis/auth"
)

// everything is a group that says something in every field that clients write.
func everything(facilitators ...string) *groupsv1.Group {
	g := &groupsv1.Group{
		Title: "Círculo", Summary: "For women after breast cancer.", Description: "# All\n\nthere is to know", Languages: []string{"es", "en"},
		Kind: groupsv1.Group_PEER_SUPPORT, Facilitation: groupsv1.Group_PEER_LED, Format: groupsv1.Group_HYBRID,
		Venue: &groupsv1.Group_Venue{
			Kind: groupsv1.Group_Venue_HOME, Label: "Ana's", Directions: "Ring twice.", Precision: groupsv1.Group_Venue_EXACT,
			Address: &typev1.PostalAddress{
				AddressLines: []string{"1 Elm Street"}, Locality: "Houston", AdministrativeArea: "TX", PostalCode: "77002", Country: "US",
			},
			Location: &latlng.LatLng{Latitude: 29.7604, Longitude: -95.3698},
		},
		Online:          &groupsv1.Group_Online{Platform: "Zoom", JoinUri: "https://secret.test/1", Phone: "+1 555 0100", JoinInstructions: "PIN 1234"},
		Accessibility:   []groupsv1.Group_Accessibility{groupsv1.Group_STEP_FREE, groupsv1.Group_INTERPRETER},
		CancerTypes:     []string{"breast", "any"},
		Phases:          []groupsv1.Group_Phase{groupsv1.Group_AFTER_TREATMENT},
		SideEffects:     []groupsv1.Group_SideEffect{groupsv1.Group_LYMPHOEDEMA, groupsv1.Group_RETURN_TO_WORK},
		Audiences:       []groupsv1.Group_Audience{groupsv1.Group_SURVIVORS},
		Demographics:    []groupsv1.Group_Demographic{groupsv1.Group_ETHNIC_COMMUNITY},
		DemographicNote: "Latinas",
		AgeLimits:       &groupsv1.Group_AgeLimits{MinYears: 18, MaxYears: 60, Strictness: groupsv1.Group_AgeLimits_STRICT},
		Intake:          groupsv1.Group_SCREENING,
		Structure: &groupsv1.Group_Structure{
			Type: groupsv1.Group_Structure_CLOSED, StartDate: &date.Date{Year: 2027, Month: 3, Day: 4}, SessionCount: 8, Goals: []string{"Sleep again"},
		},
		Activities: []groupsv1.Group_Activity{groupsv1.Group_PERSONAL_STORIES, groupsv1.Group_ONE_TO_ONE},
		Capacity:   &groupsv1.Group_Capacity{Seats: 12, Waitlist: true, SizeClass: groupsv1.Group_MEDIUM},
		Joining: &groupsv1.Group_Joining{
			Approval: groupsv1.Group_Joining_AUTOMATIC, OfferDuration: durationpb.New(48 * time.Hour), Leave: groupsv1.Group_Joining_FREES_SEAT,
		},
		Reminders: &groupsv1.Group_Reminders{Audience: groupsv1.Group_Reminders_COMING, Offsets: []*durationpb.Duration{durationpb.New(48 * time.Hour)}},
		Cost: &groupsv1.Group_Cost{
			Type: groupsv1.Group_Cost_FEE, Amount: &money.Money{CurrencyCode: "USD", Units: 5, Nanos: 500_000_000}, SlidingScale: true,
			InsuranceAccepted: true, Payers: []string{"Medicaid"},
		},
		Confidentiality: groupsv1.Group_GUIDELINES_AGREEMENT,
		Guidelines:      &groupsv1.Group_Guidelines{Version: 1, Text: "Be kind.", Uri: "https://rules.test"},
		Contact:         &groupsv1.Group_Contact{Uri: "https://circle.test", Email: "office@circle.test", Phone: "+1 555 0101"},
		TimeZone:        "America/Chicago", ExternalId: "7", SourceSystem: "ours",
		Extensions: &structpb.Struct{Fields: map[string]*structpb.Value{"theirs": structpb.NewStringValue("kept")}},
		RegularTimes: []*groupsv1.Group_RegularTime{{
			Rrule: "FREQ=WEEKLY;BYDAY=TU", StartTime: "18:00", Duration: durationpb.New(90 * time.Minute), TimeZone: "America/Denver",
			StartDate: &date.Date{Year: 2027, Month: 3, Day: 4},
		}},
	}
	for i, name := range facilitators {
		g.Facilitators = append(g.Facilitators, &groupsv1.Group_FacilitatorRole{Facilitator: name, Role: groupsv1.Group_FacilitatorRole_Role(i + 1)})
	}
	return g
}

// unset returns the fields of the message, and of those below it, that clients write and that say nothing.
func unset(m protoreflect.Message, path string) []string {
	var out []string
	for i := range m.Descriptor().Fields().Len() {
		fd := m.Descriptor().Fields().Get(i)
		at := path + string(fd.Name())
		switch {
		case behaves(fd, annotations.FieldBehavior_OUTPUT_ONLY) || behaves(fd, annotations.FieldBehavior_IDENTIFIER) || behaves(fd, annotations.FieldBehavior_IMMUTABLE) || fd.Name() == "etag":
		case !m.Has(fd):
			out = append(out, at)
		case fd.Message() == nil || fd.Message().FullName().Parent() == "google.protobuf":
		case fd.IsList():
			out = append(out, unset(m.Get(fd).List().Get(0).Message(), at+".")...)
		case fd.Message().FullName().Parent() != "google.type":
			out = append(out, unset(m.Get(fd).Message(), at+".")...)
		}
	}
	return out
}

func behaves(fd protoreflect.FieldDescriptor, b annotations.FieldBehavior) bool {
	all, ok := proto.GetExtension(fd.Options(), annotations.E_FieldBehavior).([]annotations.FieldBehavior)
	return ok && slices.Contains(all, b)
}

// Whatever clients write of a group is kept, can be changed and taken away alone, and shows to others if it is public.
func TestEveryField(t *testing.T) {
	t.Parallel()
	s := setup(t)
	lead := s.therapist(t, &date.Date{Year: 2099, Month: 12, Day: 31}).GetName()
	peer := must[facilitator](t)(s.CreateFacilitator(s.owner, &groupsv1.CreateFacilitatorRequest{Facilitator: &groupsv1.Facilitator{
		DisplayName: "Ana", LivedExperience: []*groupsv1.Facilitator_LivedExperience{{CancerType: "breast", Role: groupsv1.Facilitator_LivedExperience_SURVIVOR}},
	}})).GetName()
	advisor := s.therapist(t, &date.Date{Year: 2099, Month: 12, Day: 31}).GetName()
	in := everything(lead, peer, advisor)
	if missing := unset(in.ProtoReflect(), ""); len(missing) > 0 {
		t.Errorf("the test says nothing in %v", missing)
	}
	g := must[group](t)(s.CreateGroup(s.owner, &groupsv1.CreateGroupRequest{Group: in}))
	same := func(what string, got *groupsv1.Group, want *groupsv1.Group) {
		t.Helper()
		if diff := cmp.Diff(written(want), written(got), protocmp.Transform()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", what, diff)
		}
	}
	same("created", g, in)
	same("read", must[group](t)(s.GetGroup(s.owner, &groupsv1.GetGroupRequest{Name: g.GetName()})), in)

	fields := in.ProtoReflect().Descriptor().Fields()
	for i := range fields.Len() {
		fd := fields.Get(i)
		output := behaves(fd, annotations.FieldBehavior_OUTPUT_ONLY) || behaves(fd, annotations.FieldBehavior_IDENTIFIER) || behaves(fd, annotations.FieldBehavior_IMMUTABLE) || fd.Name() == "etag"
		if slices.Contains(mutable(), string(fd.Name())) == output {
			t.Errorf("%s can be changed: %v, want %v", fd.Name(), output, !output)
		}
	}
	for _, field := range mutable() {
		fd := fields.ByName(protoreflect.Name(field))
		if behaves(fd, annotations.FieldBehavior_REQUIRED) || field == "external_id" { // needed, or needed with source_system
			continue
		}
		mask := &fieldmaskpb.FieldMask{Paths: []string{field}}
		without := proto.CloneOf(in)
		without.ProtoReflect().Clear(fd)
		if field == "guidelines" {
			without.Guidelines = &groupsv1.Group_Guidelines{Version: in.GetGuidelines().GetVersion()} // it goes on counting
		}
		got := must[group](t)(s.UpdateGroup(s.owner, &groupsv1.UpdateGroupRequest{Group: &groupsv1.Group{Name: g.GetName()}, UpdateMask: mask}))
		same(field+" taken away", got, without)
		back := proto.CloneOf(in)
		back.Name = g.GetName()
		if field == "guidelines" {
			in.Guidelines.Version++
		}
		same(field+" put back", must[group](t)(s.UpdateGroup(s.owner, &groupsv1.UpdateGroupRequest{Group: back, UpdateMask: mask})), in)
	}

	must[group](t)(s.PublishGroup(s.owner, &groupsv1.PublishGroupRequest{Name: g.GetName()}))
	public := proto.CloneOf(in)
	public.Online = &groupsv1.Group_Online{Platform: "Zoom"}
	public.Venue.Label, public.Venue.Directions = "", ""
	public.Venue.Address.AddressLines, public.Venue.Address.PostalCode = nil, ""
	public.Venue.Location, public.Venue.Precision = &latlng.LatLng{Latitude: 29.76, Longitude: -95.37}, groupsv1.Group_Venue_APPROXIMATE
	public.Extensions = nil
	same("shown to the public", must[group](t)(s.GetGroup(s.public, &groupsv1.GetGroupRequest{Name: g.GetName()})), public)
	same("shown to its owner", must[group](t)(s.GetGroup(s.owner, &groupsv1.GetGroupRequest{Name: g.GetName()})), in)
}

// Whatever clients write of a facilitator is kept and can be changed.
func TestEveryFieldOfFacilitators(t *testing.T) {
	t.Parallel()
	s := setup(t)
	in := &groupsv1.Facilitator{
		DisplayName: "Ana", Biography: "Survivor.\nTeacher.", Languages: []string{"es", "pt-BR"},
		LivedExperience: []*groupsv1.Facilitator_LivedExperience{{CancerType: "breast", Role: groupsv1.Facilitator_LivedExperience_SURVIVOR}},
		Training: []*groupsv1.Facilitator_Training{{
			Course: "Peer facilitation", Provider: "School", CompleteDate: &date.Date{Year: 2025, Month: 3, Day: 14}, ExpireDate: &date.Date{Year: 2028, Month: 3, Day: 14},
		}},
		Licence: &groupsv1.Facilitator_Licence{Profession: "Psychologist", Number: "1", Jurisdiction: "US-MO", ExpireDate: &date.Date{Year: 2099, Month: 12, Day: 31}},
		Email:   "ana@example.org",
	}
	if missing := unset(in.ProtoReflect(), ""); len(missing) > 0 {
		t.Errorf("the test says nothing in %v", missing)
	}
	same := func(what string, got, want *groupsv1.Facilitator) {
		t.Helper()
		if diff := cmp.Diff(writtenFacilitator(want), writtenFacilitator(got), protocmp.Transform()); diff != "" || got.GetEmail() != want.GetEmail() {
			t.Errorf("%s: address %q, want %q (-want +got):\n%s", what, got.GetEmail(), want.GetEmail(), diff)
		}
	}
	f := must[facilitator](t)(s.CreateFacilitator(s.owner, &groupsv1.CreateFacilitatorRequest{Facilitator: in}))
	same("created", f, in)
	bare := &groupsv1.Facilitator{Name: f.GetName(), DisplayName: "Bea"}
	whole := &fieldmaskpb.FieldMask{Paths: []string{"*"}}
	same("replaced by little", must[facilitator](t)(s.UpdateFacilitator(s.owner, &groupsv1.UpdateFacilitatorRequest{Facilitator: bare, UpdateMask: whole})), bare)
	in.Name = f.GetName()
	must[facilitator](t)(s.UpdateFacilitator(s.owner, &groupsv1.UpdateFacilitatorRequest{Facilitator: in, UpdateMask: whole}))
	same("replaced by much", must[facilitator](t)(s.GetFacilitator(s.owner, &groupsv1.GetFacilitatorRequest{Name: f.GetName()})), in)
}

// A facilitator's address is told to who asks for her, and to nobody who reads the database or a list.
func TestFacilitatorsAddressIsKeptApart(t *testing.T) {
	t.Parallel()
	s := setup(t)
	f := must[facilitator](t)(s.CreateFacilitator(s.owner, &groupsv1.CreateFacilitatorRequest{
		Facilitator: &groupsv1.Facilitator{DisplayName: "Ana", Email: "ana@example.org"},
	}))
	if got := must[facilitator](t)(s.GetFacilitator(s.owner, &groupsv1.GetFacilitatorRequest{Name: f.GetName()})); got.GetEmail() != "ana@example.org" {
		t.Errorf("GetFacilitator has address %q, want hers", got.GetEmail())
	}
	list, err := s.ListFacilitators(s.owner, &groupsv1.ListFacilitatorsRequest{})
	if err != nil || len(list.GetFacilitators()) != 1 || list.GetFacilitators()[0].GetEmail() != "" {
		t.Errorf("ListFacilitators has %v, %v, want her without her address", list.GetFacilitators(), err)
	}
	var readable bool
	if err := s.DBs["groups"].Tx(auth.System(t.Context(), "groups"), func(tx pgx.Tx) error {
		return tx.QueryRow(t.Context(), `SELECT position('ana@example.org'::bytea IN body) + position('ana@example.org'::bytea IN email) > 0 FROM facilitators`).Scan(&readable)
	}); err != nil || readable {
		t.Errorf("her address can be read in the database: %v, %v", readable, err)
	}
}
