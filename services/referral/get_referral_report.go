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

	"github.com/google/uuid"
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
	partner := uuid.Nil
	if req.GetPartner() != "" {
		var err error
		if partner, err = aip.ParseName("partner", "organizations", req.GetPartner()); err != nil {
			return nil, err
		}
	}
	period, quarter, err := periodOf(req.GetPeriod())
	if err != nil {
		return nil, err
	}
	year, err := s.reportYear(ctx, period)
	if err != nil {
		return nil, err
	}
	at := slice{partner: sum, quarter: int32(quarter)}
	if req.GetPartner() != "" {
		at.partner = year.partners.find(partner.String())
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
func periodOf(period string) (year, quarter int, err error) {
	y, q, found := strings.Cut(period, "-Q")
	if year, err = strconv.Atoi(y); err != nil || !found {
		return year, sum, err
	}
	quarter, err = strconv.Atoi(q)
	return year, quarter - 1, err
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

	stays map[cell][]time.Duration // in each state, partner, quarter
}

// told about a referral: a line of the cubes.
type reportRow struct {
	id      uuid.UUID
	partner string
	quarter int32
	stage   int32
	values  []string // by dimension
}

func (s *server) reportYear(ctx context.Context, year int) (*reportYear, error) {
	from, to := time.Date(year, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(year+1, 1, 1, 0, 0, 0, 0, time.UTC)
	tenant := auth.TenantFrom(ctx)
	args := pgx.NamedArgs{"from": from, "to": to, "all": tenant.All, "org": tenant.Org}
	y := &reportYear{states: newCube([axes]bool{byPartner: true, byQuarter: true}), stays: map[cell][]time.Duration{}}
	var rows []reportRow
	places := map[uuid.UUID]int{}
	b := s.db.Batch(ctx)
	b.Queue(`SELECT `+columns+` FROM referrals r WHERE r.send_time >= @from AND r.send_time < @to AND (@all OR r.org_id = @org OR r.owner_org_id = @org)`,
		args).Query(func(found pgx.Rows) error {
		var r *row
		for found.Next() {
			var err error
			if r, err = pgx.RowToAddrOfStructByName[row](found); err != nil {
				return err
			}
			line, err := s.reportRow(tenant, r)
			if err != nil {
				return err
			}
			places[r.ID] = len(rows)
			rows = append(rows, line)
		}
		return found.Err()
	})
	var lefts []left
	b.Queue(`SELECT referral_id, from_state, stay FROM (
			SELECT e.referral_id, e.number, e.from_state, e.create_time - lag(e.create_time) OVER (PARTITION BY e.referral_id ORDER BY e.number) AS stay
			FROM referral_events e JOIN referrals r ON r.id = e.referral_id
			WHERE e.from_state <> e.to_state AND r.send_time >= @from AND r.send_time < @to AND (@all OR r.org_id = @org OR r.owner_org_id = @org)
		) steps WHERE stay IS NOT NULL AND from_state <> 1`, args).Query(func(found pgx.Rows) (err error) {
		lefts, err = pgx.CollectRows(found, pgx.RowToStructByPos[left])
		return err
	})
	if err := s.db.Send(ctx, b); err != nil {
		return nil, fmt.Errorf("read referrals for a report: %w", err)
	}
	y.count(rows, lefts, places)
	return y, nil
}

// left is a stay of a referral in a state that it has left.
type left struct {
	Referral uuid.UUID
	State    int32
	Stay     time.Duration
}

// reportRow returns what a report tells of a referral. The owner is told no more of the person than it is shown without consent;
// what the referrer wrote, it may count.
func (s *server) reportRow(t auth.Tenant, r *row) (reportRow, error) {
	own := viewFor(t, r) == whole
	needs, err := r.wholeNeeds(own)
	if err != nil {
		return reportRow{}, err
	}
	years, known := needs.GetAgeYears(), needs.AgeYears != nil
	if own && !known {
		subject, err := s.subject(r)
		if err != nil {
			return reportRow{}, err
		}
		years, known = ageOn(subject.GetBirthDate(), *r.SendTime)
	}
	line := reportRow{id: r.ID, quarter: int32(r.SendTime.UTC().Month()-1) / 3, partner: partnerOf(t, r), stage: notAccepted}
	switch {
	case r.FirstAttendedTime != nil:
		line.stage = attendedOnce
	case r.AcceptTime != nil:
		line.stage = acceptedOnly
	}
	line.values = []string{unknown, unknown, unknown, unknown}
	if bases := baseLanguages(needs); len(bases) > 0 {
		line.values[0] = bases[0]
	}
	if known {
		line.values[1] = ageBand(years)
	}
	if area := areaOf(needs); area != "" {
		line.values[2] = area
	}
	if cancers := needs.GetCancerTypes(); len(cancers) > 0 {
		line.values[3] = cancers[0]
	}
	return line, nil
}

// partnerOf returns the organization on the other side; the receiver for the platform. Empty while nobody owns the referral.
func partnerOf(t auth.Tenant, r *row) string {
	if !t.All && r.OrgID != t.Org {
		return r.OrgID.String()
	}
	if r.OwnerOrgID == nil {
		return ""
	}
	return r.OwnerOrgID.String()
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

// count fills the cubes and hides what would tell too much.
func (y *reportYear) count(rows []reportRow, lefts []left, places map[uuid.UUID]int) {
	distinct := func(of func(reportRow) string) numbered {
		seen := map[string]bool{}
		for _, r := range rows {
			seen[of(r)] = true
		}
		return slices.Sorted(maps.Keys(seen))
	}
	y.partners = distinct(func(r reportRow) string { return r.partner })
	for d := range reached() {
		values, table := distinct(func(r reportRow) string { return r.values[d] }), newCube([axes]bool{true, true, true, true})
		for _, r := range rows {
			table.add(cell{values.find(r.values[d]), y.partners.find(r.partner), r.quarter, r.stage})
		}
		y.values, y.reach = append(y.values, values), append(y.reach, table)
	}
	protectAll(y.reach...)
	for _, l := range lefts {
		i, known := places[l.Referral]
		if !known {
			continue // sent since the other statement looked
		}
		at := cell{l.State, y.partners.find(rows[i].partner), rows[i].quarter, 0}
		y.states.add(at)
		y.stays[at] = append(y.stays[at], l.Stay)
	}
	y.states.protect()
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
	byState := map[int32][]time.Duration{}
	for at, stays := range y.stays {
		if (s.partner == sum || s.partner == at[byPartner]) && (s.quarter == sum || s.quarter == at[byQuarter]) {
			byState[at[byValue]] = append(byState[at[byValue]], stays...)
		}
	}
	var all []*referralv1.ReferralReport_StateTime
	for _, number := range slices.Sorted(maps.Keys(byState)) {
		stays := byState[number]
		slices.Sort(stays)
		m := &referralv1.ReferralReport_StateTime{State: state(number), Stays: y.states.count(cell{number, s.partner, s.quarter, 0})}
		if m.GetStays().Value != nil {
			m.Median = durationpb.New(stays[len(stays)/2].Round(time.Minute))
			if len(stays) >= manyForNinety {
				m.NinetiethPercentile = durationpb.New(stays[len(stays)*9/10].Round(time.Minute))
			}
		}
		all = append(all, m)
	}
	return all
}
