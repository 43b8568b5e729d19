package demo

import (
	"bytes"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
	"google.golang.org/genproto/googleapis/type/date"
	"google.golang.org/genproto/googleapis/type/latlng"
	"google.golang.org/genproto/googleapis/type/money"
	"google.golang.org/protobuf/types/known/durationpb"
	"gopkg.in/yaml.v3"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	schedulingv1 "cairn.care/gen/cairn/scheduling/v1"
	typev1 "cairn.care/gen/cairn/type/v1"
)

//go:embed directory.yaml
var directoryYAML []byte

const sourceSystem = "cairn-sample" // of the sample groups

type directory struct {
	Organizations []organization  `yaml:"organizations"`
	Cities        map[string]city `yaml:"cities"`
	Facilitators  []facilitator   `yaml:"facilitators"`
	Groups        []sampleGroup   `yaml:"groups"`
}

type organization struct {
	Key       string   `yaml:"key"`
	ID        string   `yaml:"id"`
	Title     string   `yaml:"title"`
	Kind      string   `yaml:"kind"`
	Languages []string `yaml:"languages"`
	Zone      string   `yaml:"zone"`
	Country   string   `yaml:"country"`
	Email     string   `yaml:"email"` // of its contact; "" for none
}

func (o organization) name() string { return "organizations/" + o.ID }

type city struct {
	Lat     float64 `yaml:"lat"`
	Lng     float64 `yaml:"lng"`
	Region  string  `yaml:"region"`
	Country string  `yaml:"country"`
}

type facilitator struct {
	Key          string   `yaml:"key"`
	Org          string   `yaml:"org"`
	Title        string   `yaml:"title"`
	Languages    []string `yaml:"languages"`
	Lived        string   `yaml:"lived"`
	Licence      string   `yaml:"licence"`
	Jurisdiction string   `yaml:"jurisdiction"`
}

type sampleGroup struct {
	Key        string   `yaml:"key"`
	Org        string   `yaml:"org"`
	Title      string   `yaml:"title"`
	Summary    string   `yaml:"summary"`
	Kind       string   `yaml:"kind"`
	By         string   `yaml:"by"`
	Format     string   `yaml:"format"`
	City       string   `yaml:"city"`
	Platform   string   `yaml:"platform"`
	Languages  []string `yaml:"languages"`
	Cancer     []string `yaml:"cancer"`
	Phases     []string `yaml:"phases"`
	Effects    []string `yaml:"effects"`
	Audience   []string `yaml:"audience"`
	Who        []string `yaml:"who"`
	Access     []string `yaml:"access"`
	Activities []string `yaml:"activities"`
	Ages       []int32  `yaml:"ages"`
	Seats      int32    `yaml:"seats"`
	Waitlist   bool     `yaml:"waitlist"`
	Cost       string   `yaml:"cost"`
	Amount     int64    `yaml:"amount"`
	Currency   string   `yaml:"currency"`
	Sliding    bool     `yaml:"sliding"`
	Payers     []string `yaml:"payers"`
	When       string   `yaml:"when"`
}

func readDirectory() (*directory, error) {
	var d directory
	dec := yaml.NewDecoder(bytes.NewReader(directoryYAML))
	dec.KnownFields(true)
	if err := dec.Decode(&d); err != nil {
		return nil, fmt.Errorf("sample directory: %w", err)
	}
	return &d, nil
}

func (d *directory) org(key string) organization {
	i := slices.IndexFunc(d.Organizations, func(o organization) bool { return o.Key == key })
	return d.Organizations[i]
}

// loader brings the sample directory into a running Cairn, as an internal app.
type loader struct {
	*directory
	groups       groupsv1.GroupsServiceClient
	series       schedulingv1.SchedulingServiceClient
	facilitators map[string]string // key to resource name
	now          time.Time
}

// Load loads the sample directory as the demo app. What is there already stays as it is. It
// returns how many groups are new.
func Load(ctx context.Context, s Server) (int, error) {
	d, err := readDirectory()
	if err != nil {
		return 0, err
	}
	groups, err := s.App(ctx, "groups")
	if err != nil {
		return 0, err
	}
	defer groups.Close() //nolint:errcheck // nothing is under way
	scheduling, err := s.App(ctx, "scheduling")
	if err != nil {
		return 0, err
	}
	defer scheduling.Close() //nolint:errcheck // nothing is under way
	l := &loader{
		directory: d, facilitators: map[string]string{}, now: time.Now(),
		groups: groupsv1.NewGroupsServiceClient(groups), series: schedulingv1.NewSchedulingServiceClient(scheduling),
	}
	if err := l.loadFacilitators(ctx); err != nil {
		return 0, err
	}
	present, err := l.present(ctx)
	if err != nil {
		return 0, err
	}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(8)
	added := 0
	for _, s := range d.Groups {
		there := present[s.Key]
		if there != nil && there.GetState() != groupsv1.Group_DRAFT {
			continue
		}
		added++
		g.Go(func() error {
			if err := l.loadGroup(ctx, s, there); err != nil {
				return fmt.Errorf("sample group %s: %w", s.Key, err)
			}
			return nil
		})
	}
	return added, g.Wait()
}

// present returns the sample groups that are there, by key. A DRAFT one was being loaded
// when an earlier start was cut off.
func (l *loader) present(ctx context.Context) (map[string]*groupsv1.Group, error) {
	groups := map[string]*groupsv1.Group{}
	req := &groupsv1.ListGroupsRequest{PageSize: 200, Filter: `source_system = "` + sourceSystem + `"`}
	for {
		resp, err := l.groups.ListGroups(ctx, req)
		if err != nil {
			return nil, fmt.Errorf("list sample groups: %w", err)
		}
		for _, g := range resp.GetGroups() {
			groups[g.GetExternalId()] = g
		}
		if req.PageToken = resp.GetNextPageToken(); req.PageToken == "" {
			return groups, nil
		}
	}
}

func (l *loader) loadFacilitators(ctx context.Context) error {
	there := map[string]string{} // organization and name to resource name
	req := &groupsv1.ListFacilitatorsRequest{PageSize: 200}
	for {
		resp, err := l.groups.ListFacilitators(ctx, req)
		if err != nil {
			return fmt.Errorf("list facilitators: %w", err)
		}
		for _, f := range resp.GetFacilitators() {
			if f.GetLicence() == nil || f.GetLicence().GetVerifyTime() != nil {
				there[f.GetOrganization()+f.GetDisplayName()] = f.GetName()
			}
		}
		if req.PageToken = resp.GetNextPageToken(); req.PageToken == "" {
			break
		}
	}
	for _, f := range l.Facilitators {
		name, ok := there[l.org(f.Org).name()+f.Title]
		if !ok {
			var err error
			if name, err = l.createFacilitator(ctx, f); err != nil {
				return fmt.Errorf("sample facilitator %s: %w", f.Key, err)
			}
		}
		l.facilitators[f.Key] = name
	}
	return nil
}

func (l *loader) createFacilitator(ctx context.Context, f facilitator) (string, error) {
	in := &groupsv1.Facilitator{Organization: l.org(f.Org).name(), DisplayName: f.Title, Languages: f.Languages}
	if f.Lived != "" {
		in.LivedExperience = []*groupsv1.Facilitator_LivedExperience{{CancerType: f.Lived, Role: groupsv1.Facilitator_LivedExperience_SURVIVOR}}
		in.Training = []*groupsv1.Facilitator_Training{{Course: "Peer facilitation", Provider: "Cairn sample school", CompleteDate: &date.Date{Year: 2025, Month: 3, Day: 14}}}
	}
	if f.Licence != "" {
		in.Licence = &groupsv1.Facilitator_Licence{
			Profession: f.Licence, Number: "SAMPLE-" + strings.ToUpper(f.Key), Jurisdiction: f.Jurisdiction,
			ExpireDate: &date.Date{Year: int32(l.now.Year() + 2), Month: 12, Day: 31},
		}
	}
	created, err := l.groups.CreateFacilitator(ctx, &groupsv1.CreateFacilitatorRequest{Facilitator: in})
	if err != nil || f.Licence == "" {
		return created.GetName(), err
	}
	verified, err := l.groups.VerifyLicence(ctx, &groupsv1.VerifyLicenceRequest{
		Name: created.GetName(), Evidence: "Sample licence, seen in nobody's register",
	})
	return verified.GetName(), err
}

// loadGroup creates, plans and publishes a group, or goes on where an earlier start was cut off.
func (l *loader) loadGroup(ctx context.Context, s sampleGroup, there *groupsv1.Group) error {
	if there == nil {
		in, err := l.group(s)
		if err != nil {
			return err
		}
		if there, err = l.groups.CreateGroup(ctx, &groupsv1.CreateGroupRequest{Group: in}); err != nil {
			return err
		}
	}
	if s.When != "" {
		planned, err := l.series.ListSeries(ctx, &schedulingv1.ListSeriesRequest{Filter: `group = "` + there.GetName() + `"`})
		if err != nil {
			return err
		}
		if len(planned.GetSeries()) == 0 {
			if err := l.createSeries(ctx, there, s); err != nil {
				return err
			}
		}
	}
	_, err := l.groups.PublishGroup(ctx, &groupsv1.PublishGroupRequest{Name: there.GetName()})
	return err
}

// group turns a line of the sample directory into a group.
func (l *loader) group(s sampleGroup) (*groupsv1.Group, error) {
	var e enums
	org := l.org(s.Org)
	g := &groupsv1.Group{
		Organization: org.name(), Title: s.Title, Summary: s.Summary, Languages: s.Languages, CancerTypes: s.Cancer,
		Kind:          groupsv1.Group_Kind(e.one(groupsv1.Group_Kind_value, s.Kind)),
		Facilitation:  groupsv1.Group_Facilitation(e.one(groupsv1.Group_Facilitation_value, s.By)),
		Format:        groupsv1.Group_Format(e.one(groupsv1.Group_Format_value, s.Format)),
		Phases:        many[groupsv1.Group_Phase](&e, groupsv1.Group_Phase_value, s.Phases),
		SideEffects:   many[groupsv1.Group_SideEffect](&e, groupsv1.Group_SideEffect_value, s.Effects),
		Audiences:     many[groupsv1.Group_Audience](&e, groupsv1.Group_Audience_value, s.Audience),
		Demographics:  many[groupsv1.Group_Demographic](&e, groupsv1.Group_Demographic_value, s.Who),
		Accessibility: many[groupsv1.Group_Accessibility](&e, groupsv1.Group_Accessibility_value, s.Access),
		Activities:    many[groupsv1.Group_Activity](&e, groupsv1.Group_Activity_value, s.Activities),
		Capacity:      &groupsv1.Group_Capacity{Seats: s.Seats, Waitlist: s.Waitlist},
		Cost: &groupsv1.Group_Cost{
			Type: groupsv1.Group_Cost_Type(e.one(groupsv1.Group_Cost_Type_value, s.Cost)), SlidingScale: s.Sliding,
			InsuranceAccepted: len(s.Payers) > 0, Payers: s.Payers,
		},
		Intake: groupsv1.Group_NO_SCREENING, Structure: &groupsv1.Group_Structure{Type: groupsv1.Group_Structure_OPEN},
		Confidentiality: groupsv1.Group_GUIDELINES_AGREEMENT,
		Guidelines:      &groupsv1.Group_Guidelines{Text: "What is said here stays here. We listen before we advise. Nobody has to speak."},
		TimeZone:        org.Zone, ExternalId: s.Key, SourceSystem: sourceSystem,
	}
	if s.Cost == "FEE" {
		g.Cost.Amount = &money.Money{CurrencyCode: s.Currency, Units: s.Amount}
	}
	if len(s.Ages) == 2 {
		g.AgeLimits = &groupsv1.Group_AgeLimits{MinYears: s.Ages[0], MaxYears: s.Ages[1], Strictness: groupsv1.Group_AgeLimits_FLEXIBLE}
	}
	if s.Kind == "GROUP_THERAPY" {
		g.Confidentiality, g.Intake = groupsv1.Group_LEGALLY_MANDATED, groupsv1.Group_SCREENING
	}
	if c, ok := l.Cities[s.City]; ok {
		g.Venue = &groupsv1.Group_Venue{
			Kind: groupsv1.Group_Venue_COMMUNITY_CENTRE, Label: s.City + " community centre",
			Address:  &typev1.PostalAddress{Locality: s.City, AdministrativeArea: c.Region, Country: c.Country},
			Location: &latlng.LatLng{Latitude: c.Lat, Longitude: c.Lng}, Precision: groupsv1.Group_Venue_APPROXIMATE,
		}
	}
	switch s.Format {
	case "ONLINE", "HYBRID", "ASYNCHRONOUS":
		g.Online = &groupsv1.Group_Online{Platform: s.Platform, JoinUri: "https://meet.example/" + s.Key}
		if s.Platform == "" {
			g.Online.Platform = "Jitsi"
		}
	case "PHONE":
		g.Online = &groupsv1.Group_Online{Platform: "Telephone", Phone: "555-0100"}
	}
	if s.By != "PROFESSIONALLY_LED" {
		g.Facilitators = append(g.Facilitators, &groupsv1.Group_FacilitatorRole{Facilitator: l.facilitators[s.Org+"-peer"], Role: groupsv1.Group_FacilitatorRole_LEAD})
	}
	if s.By == "PROFESSIONALLY_LED" || s.By == "CO_FACILITATED" {
		role := groupsv1.Group_FacilitatorRole_LEAD
		if s.By == "CO_FACILITATED" {
			role = groupsv1.Group_FacilitatorRole_CO_LEAD
		}
		g.Facilitators = append(g.Facilitators, &groupsv1.Group_FacilitatorRole{Facilitator: l.facilitators[s.Org+"-pro"], Role: role})
	}
	return g, e.err
}

// createSeries puts the group's meetings into the calendar from the beginning of this week on.
func (l *loader) createSeries(ctx context.Context, g *groupsv1.Group, s sampleGroup) error {
	when := strings.Fields(s.When) // rule, local start, minutes
	if len(when) != 3 {
		return fmt.Errorf("when: %q", s.When)
	}
	minutes, err := strconv.Atoi(when[2])
	if err != nil {
		return fmt.Errorf("when: %w", err)
	}
	zone, err := time.LoadLocation(l.org(s.Org).Zone)
	if err != nil {
		return fmt.Errorf("zone: %w", err)
	}
	start, err := firstDay(when[0], l.now.In(zone))
	if err != nil {
		return err
	}
	format := schedulingv1.Series_Format(schedulingv1.Series_Format_value[s.Format])
	_, err = l.series.CreateSeries(ctx, &schedulingv1.CreateSeriesRequest{Series: &schedulingv1.Series{
		Group: g.GetName(), Rrule: when[0], TimeZone: l.org(s.Org).Zone, Format: format,
		LocalStart: start.Format("2006-01-02") + "T" + when[1] + ":00", Duration: durationpb.New(time.Duration(minutes) * time.Minute),
	}})
	return err
}

// firstDay returns the first day from tomorrow on that a rule with one BYDAY meets.
func firstDay(rule string, now time.Time) (time.Time, error) {
	days := []string{"SU", "MO", "TU", "WE", "TH", "FR", "SA"}
	_, by, ok := strings.Cut(rule, "BYDAY=")
	if !ok || len(by) < 2 {
		return time.Time{}, errors.New("rule has no BYDAY")
	}
	weekday, nth := slices.Index(days, by[len(by)-2:]), by[:len(by)-2]
	for day := now.AddDate(0, 0, 1); ; day = day.AddDate(0, 0, 1) {
		if int(day.Weekday()) == weekday && (nth == "" || strconv.Itoa((day.Day()+6)/7) == nth) {
			return day, nil
		}
	}
}

// enums looks enum values up by name and keeps the first name that is none.
type enums struct{ err error }

func (e *enums) one(values map[string]int32, name string) int32 {
	v, ok := values[name]
	if !ok && e.err == nil {
		e.err = fmt.Errorf("%q is no value of the enum", name)
	}
	return v
}

func many[E ~int32](e *enums, values map[string]int32, names []string) []E {
	var out []E
	for _, n := range names {
		out = append(out, E(e.one(values, n)))
	}
	return out
}
