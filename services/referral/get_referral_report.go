package referral

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	referralv1 "cairn.care/gen/cairn/referral/v1"
	"cairn.care/services/chassis/aip"
	"cairn.care/services/chassis/auth"
)

// The stages of a report's cubes.
const (
	notAccepted = iota
	acceptedOnly
	attendedOnce
)

const (
	unknown       = "unknown"
	manyForNinety = 50 // stays of which a ninetieth percentile says something
)

// reached are the things by which a report tells people apart.
func reached() []referralv1.ReferralReport_Dimension {
	return []referralv1.ReferralReport_Dimension{
		referralv1.ReferralReport_LANGUAGE, referralv1.ReferralReport_AGE_BAND, referralv1.ReferralReport_AREA, referralv1.ReferralReport_CANCER_TYPE,
	}
}

// GetReferralReport implements ReportsService.
func (s *server) GetReferralReport(ctx context.Context, req *referralv1.GetReferralReportRequest) (*referralv1.ReferralReport, error) {
	partner := ""
	if req.GetPartner() != "" {
		id, err := aip.ParseName("partner", "organizations", req.GetPartner())
		if err != nil {
			return nil, err
		}
		partner = id.String()
	}
	period, quarter, err := periodOf(req.GetPeriod())
	if err != nil {
		return nil, err
	}
	year, err := s.reportYear(ctx, period, partner, quarter)
	if err != nil {
		return nil, err
	}
	at := slice{partner: sum, quarter: quarter}
	if partner != "" {
		at.partner = year.partners.find(partner)
	}
	tenant := auth.TenantFrom(ctx)
	m := &referralv1.ReferralReport{Period: req.GetPeriod(), Partner: req.GetPartner(), CreateTime: timestamppb.New(s.clock.Now())}
	if !tenant.All {
		m.Organization = aip.Name("organizations", tenant.Org)
	}
	m.Funnel = year.funnel(year.reach[0], sum, at)
	m.StateTimes = year.stateTimes(at)
	for i, d := range reached() {
		m.Reach = append(m.Reach, &referralv1.ReferralReport_Reach{Dimension: d, Groups: year.groups(i, at)})
	}
	return m, nil
}

// periodOf returns the year of a period, and its quarter from 0; sum for the whole year.
func periodOf(period string) (year int, quarter int32, err error) {
	y, q, found := strings.Cut(period, "-Q")
	if year, err = strconv.Atoi(y); err != nil || !found {
		return year, sum, err
	}
	n, err := strconv.ParseInt(q, 10, 32)
	return year, int32(n) - 1, err
}

// slice is what is asked for of a year.
type slice struct{ partner, quarter int32 }

// numbered numbers values in their order, so that the same values have the same numbers.
type numbered []string

// find returns the number of a value; one that no cell has if it is not there.
func (n numbered) find(value string) int32 {
	if i, found := slices.BinarySearch(n, value); found {
		return int32(i)
	}
	return math.MaxInt32
}

// reportYear is all that can be told of the referrals that an organization has to do with and that were sent in one year.
type reportYear struct {
	partners numbered
	values   []numbered // by dimension
	reach    []*cube    // by dimension
	states   *cube      // stays, by state

	stays map[int32]stay // of what is asked for, by state
}

// kind is what a report tells referrals apart by, beside one thing of the person.
type kind struct {
	value, partner string
	quarter, stage int32
}

// What a report is of, and on the other side of a referral: for the platform the receiver, null while nobody owns it.
const (
	reported    = `r.send_time >= @from AND r.send_time < @to AND (@all OR r.org_id = @org OR r.owner_org_id = @org)`
	partnerOf   = `coalesce((CASE WHEN @all OR r.org_id = @org THEN r.owner_org_id ELSE r.org_id END)::text, '')`
	sentQuarter = `extract(quarter FROM r.send_time AT TIME ZONE 'UTC')::integer - 1`
)

// reportRows selects the referrals. What is long or encrypted is read only of the tenant's own, and where the needs do not say it.
const reportRows = `SELECT r.id, r.org_id, r.needs, r.send_time, r.accept_time, r.first_attended_time, ` + partnerOf + ` AS partner, ` + sentQuarter + ` AS quarter,
		CASE WHEN r.org_id = @org AND NOT r.needs ? 'cancerTypes' THEN r.reason_codes ELSE '[]' END AS reason_codes,
		CASE WHEN r.org_id = @org AND NOT r.needs ? 'ageYears' THEN r.data_key END AS data_key,
		CASE WHEN r.org_id = @org AND NOT r.needs ? 'ageYears' THEN r.subject END AS subject
	FROM referrals r WHERE ` + reported

// reportStays selects how often referrals stayed in each state that they have left, and of what is asked for how long.
const reportStays = `WITH steps AS (
		SELECT e.from_state AS state, ` + partnerOf + ` AS partner, ` + sentQuarter + ` AS quarter,
			e.create_time - lag(e.create_time) OVER (PARTITION BY e.referral_id ORDER BY e.number) AS stay
		FROM referral_events e JOIN referrals r ON r.id = e.referral_id WHERE e.from_state <> e.to_state AND ` + reported + `
	), stays AS (SELECT * FROM steps WHERE stay IS NOT NULL AND state <> 1)
	SELECT state, partner, quarter, count(*), NULL::interval, NULL::interval FROM stays GROUP BY state, partner, quarter
	UNION ALL
	SELECT state, '', 0, 0, percentile_cont(0.5) WITHIN GROUP (ORDER BY stay), percentile_cont(0.9) WITHIN GROUP (ORDER BY stay)
	FROM stays WHERE (@partner = '' OR partner = @partner) AND (@quarter = -1 OR quarter = @quarter) GROUP BY state`

// reportYear reads a year. Its memory is that of the cubes, however many referrals there are.
func (s *server) reportYear(ctx context.Context, year int, partner string, quarter int32) (*reportYear, error) {
	tenant := auth.TenantFrom(ctx)
	args := pgx.NamedArgs{
		"from": time.Date(year, 1, 1, 0, 0, 0, 0, time.UTC), "to": time.Date(year+1, 1, 1, 0, 0, 0, 0, time.UTC),
		"all": tenant.All, "org": tenant.Org, "partner": partner, "quarter": quarter,
	}
	kinds := make([]map[kind]int64, len(reached()))
	for i := range kinds {
		kinds[i] = map[kind]int64{}
	}
	b := s.db.Batch(ctx)
	b.Queue(reportRows, args).Query(func(found pgx.Rows) error {
		for found.Next() {
			r, err := pgx.RowToAddrOfStructByNameLax[reportRow](found)
			if err != nil {
				return err
			}
			values, err := s.reportValues(tenant, &r.row)
			if err != nil {
				return err
			}
			for i, value := range values {
				kinds[i][kind{value, r.Partner, r.Quarter, r.stage()}]++
			}
		}
		return found.Err()
	})
	var stays []stay
	b.Queue(reportStays, args).Query(func(found pgx.Rows) (err error) {
		stays, err = pgx.CollectRows(found, pgx.RowToStructByPos[stay])
		return err
	})
	if err := s.db.Send(ctx, b); err != nil {
		return nil, fmt.Errorf("read referrals for a report: %w", err)
	}
	return newReportYear(kinds, stays), nil
}

// reportRow is a row of which only what a report tells is read.
type reportRow struct {
	row
	Partner string
	Quarter int32
}

func (r *reportRow) stage() int32 {
	switch {
	case r.FirstAttendedTime != nil:
		return attendedOnce
	case r.AcceptTime != nil:
		return acceptedOnly
	}
	return notAccepted
}

// stay is how often referrals were in a state and left it; or, of what is asked for, how long.
type stay struct {
	State             int32
	Partner           string
	Quarter           int32
	Count             int64
	Median, Ninetieth *time.Duration
}

// reportValues returns what a report tells of a person, by dimension. The owner is told no more of her than it is shown without
// consent; what the referrer wrote, it may count.
func (s *server) reportValues(t auth.Tenant, r *row) ([]string, error) {
	own := viewFor(t, r) == whole
	needs, err := r.wholeNeeds(own)
	if err != nil {
		return nil, err
	}
	years, known := needs.GetAgeYears(), needs.AgeYears != nil
	if own && !known {
		subject, err := s.subject(r)
		if err != nil {
			return nil, err
		}
		years, known = ageOn(subject.GetBirthDate(), *r.SendTime)
	}
	values := []string{unknown, unknown, unknown, unknown}
	if bases := baseLanguages(needs); len(bases) > 0 {
		values[0] = bases[0]
	}
	if known {
		values[1] = ageBand(years)
	}
	if area := areaOf(needs); area != "" {
		values[2] = area
	}
	if cancers := needs.GetCancerTypes(); len(cancers) > 0 {
		values[3] = cancers[0]
	}
	return values, nil
}

func ageBand(years int32) string {
	if years >= 80 {
		return "80+"
	}
	return fmt.Sprintf("%d-%d", years/10*10, years/10*10+9)
}

// areaOf returns the country and the corner of the square of one degree in which she is, as far as both are known.
func areaOf(n *referralv1.Needs) string {
	var parts []string
	if n.GetCountry() != "" {
		parts = append(parts, n.GetCountry())
	}
	if l := n.GetLocation(); l != nil {
		parts = append(parts, fmt.Sprintf("%d,%d", int(math.Floor(l.GetLatitude())), int(math.Floor(l.GetLongitude()))))
	}
	return strings.Join(parts, " ")
}

// newReportYear fills the cubes and hides what would tell too much.
func newReportYear(kinds []map[kind]int64, stays []stay) *reportYear {
	y := &reportYear{partners: distinct(kinds[0], func(k kind) string { return k.partner }), stays: map[int32]stay{}}
	for _, counts := range kinds {
		values, table := distinct(counts, func(k kind) string { return k.value }), newCube([axes]bool{true, true, true, true})
		for k, n := range counts {
			table.add(cell{values.find(k.value), y.partners.find(k.partner), k.quarter, k.stage}, n)
		}
		y.values, y.reach = append(y.values, values), append(y.reach, table)
	}
	protectAll(y.reach...)
	y.states = newCube([axes]bool{byPartner: true, byQuarter: true})
	for _, s := range stays {
		if s.Median != nil {
			y.stays[s.State] = s
		} else {
			y.states.add(cell{s.State, y.partners.find(s.Partner), s.Quarter, 0}, s.Count)
		}
	}
	y.states.protect()
	return y
}

func distinct(counts map[kind]int64, of func(kind) string) numbered {
	seen := map[string]bool{}
	for k := range counts {
		seen[of(k)] = true
	}
	return slices.Sorted(maps.Keys(seen))
}

func (c *cube) count(at cell) *referralv1.ReferralReport_Count {
	if c.hidden[at] {
		return &referralv1.ReferralReport_Count{}
	}
	n := c.counts[at]
	return &referralv1.ReferralReport_Count{Value: &n}
}

func (y *reportYear) funnel(c *cube, value int32, s slice) *referralv1.ReferralReport_Funnel {
	at := func(stage int32) *referralv1.ReferralReport_Count {
		return c.count(cell{value, s.partner, s.quarter, stage})
	}
	return &referralv1.ReferralReport_Funnel{Sent: at(sum), NotAccepted: at(notAccepted), AcceptedOnly: at(acceptedOnly), Attended: at(attendedOnce)}
}

// groups returns the people of a dimension that there are in the slice: those of most referrals first, then those whose number is
// hidden, by name. Of fewer than fewest referrals it returns none: what they are, taken together, would tell who they are of.
func (y *reportYear) groups(dimension int, s slice) []*referralv1.ReferralReport_Group {
	if y.reach[dimension].counts[cell{sum, s.partner, s.quarter, sum}] < fewest {
		return nil
	}
	var all []*referralv1.ReferralReport_Group
	for i, value := range y.values[dimension] {
		if y.reach[dimension].counts[cell{int32(i), s.partner, s.quarter, sum}] > 0 {
			all = append(all, &referralv1.ReferralReport_Group{Value: value, Funnel: y.funnel(y.reach[dimension], int32(i), s)})
		}
	}
	slices.SortStableFunc(all, func(a, b *referralv1.ReferralReport_Group) int {
		return cmp.Compare(b.GetFunnel().GetSent().GetValue(), a.GetFunnel().GetSent().GetValue())
	})
	return all
}

func (y *reportYear) stateTimes(s slice) []*referralv1.ReferralReport_StateTime {
	var all []*referralv1.ReferralReport_StateTime
	for _, number := range slices.Sorted(maps.Keys(y.stays)) {
		m := &referralv1.ReferralReport_StateTime{State: state(number), Stays: y.states.count(cell{number, s.partner, s.quarter, 0})}
		if m.GetStays().Value != nil {
			m.Median = durationpb.New(y.stays[number].Median.Round(time.Minute))
			if m.GetStays().GetValue() >= manyForNinety {
				m.NinetiethPercentile = durationpb.New(y.stays[number].Ninetieth.Round(time.Minute))
			}
		}
		all = append(all, m)
	}
	return all
}
