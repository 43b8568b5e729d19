package scheduling

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"google.golang.org/genproto/googleapis/type/date"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	schedulingv1 "cairn.care/gen/cairn/scheduling/v1"
	"cairn.care/services/chassis/aip"
	"cairn.care/services/chassis/pg"
	"cairn.care/services/recurrence"
)

// listing is what a group says of when it meets.
type listing struct {
	id, org  uuid.UUID
	revision int64
	closed   bool // archived, deleted, or merged into another
	format   int32
	times    []listedTime
	leads    []uuid.UUID
}

// listedTime is a regular time of a group.
type listedTime struct {
	rrule, start, zone string
	seconds            int32
	date               *date.Date // nil: any week will do
}

// key tells a group's times apart.
func (t listedTime) key() string {
	from := ""
	if t.date != nil {
		from = fmt.Sprintf("%04d-%02d-%02d", t.date.GetYear(), t.date.GetMonth(), t.date.GetDay())
	}
	return strings.Join([]string{t.rrule, t.start, t.zone, fmt.Sprint(t.seconds), from}, " ")
}

// listingOf reads what a group's event tells.
func listingOf(g *groupsv1.GroupChanged, revision int64) (l listing, err error) {
	if l.id, err = aip.ParseName("group", "groups", g.GetGroup()); err != nil {
		return l, err
	}
	if l.org, err = aip.ParseName("organization", "organizations", g.GetOrganization()); err != nil {
		return l, err
	}
	l.revision, l.closed = revision, g.GetDeleted() || g.GetState() == groupsv1.Group_ARCHIVED
	l.leads = leadsOf(g.GetFacilitators())
	l.format = formatOf(g.GetFormat())
	if g.GetState() == groupsv1.Group_DRAFT {
		return l, nil // nobody comes yet
	}
	for _, t := range g.GetRegularTimes() {
		one := listedTime{
			rrule: t.GetRrule(), start: t.GetStartTime(), zone: cmp.Or(t.GetTimeZone(), g.GetTimeZone()),
			seconds: int32(t.GetDuration().AsDuration() / time.Second), date: t.GetStartDate(),
		}
		if !slices.ContainsFunc(l.times, func(other listedTime) bool { return other.key() == one.key() }) {
			l.times = append(l.times, one)
		}
	}
	return l, nil
}

// formatOf is how a group is attended, as the columns have it.
func formatOf(f groupsv1.Group_Format) int32 {
	if schedulingv1.Series_Format_name[int32(f)] != f.String() {
		return 0
	}
	return int32(f)
}

// into makes the series that of the time.
func (t listedTime) into(r *seriesRow, now time.Time) error {
	zone, err := recurrence.Zone(t.zone)
	if err != nil {
		return err
	}
	day := recurrence.WallClock(now, zone)
	if t.date != nil {
		day = time.Date(int(t.date.GetYear()), time.Month(t.date.GetMonth()), int(t.date.GetDay()), 0, 0, 0, 0, time.UTC)
	}
	set, err := recurrence.Parse(recurrence.Spec{RRule: t.rrule, TimeZone: t.zone, Start: day.Format(time.DateOnly) + "T" + t.start})
	if err != nil {
		return err
	}
	r.LocalStart = set.Start
	if t.date == nil { // the first that is still to come
		coming, _, err := set.Between(now, now.Add(window), maxSessions)
		if err != nil {
			return err
		}
		if len(coming) > 0 {
			r.LocalStart = coming[0].Local()
		}
	}
	r.Rrule, r.TimeZone, r.DurationSeconds, r.Listed = t.rrule, t.zone, t.seconds, t.key()
	_, err = new(*r).occurrences(nil, now)
	return err
}

// edits returns how the group's series become what the listing says. A series of a time that is listed no more becomes that
// of a new one, if there is one, so that sessions on the same day keep their names. Series made by hand stay; all close and open
// again with the group. A time that cannot be planned is left out.
func (l listing) edits(have []seriesRow, now time.Time) []edit {
	var edits []edit
	change := func(r seriesRow, e edit) {
		r.Revision++
		r.UpdateTime = now
		e.series, e.lenient, e.edited = &r, true, true
		edits = append(edits, e)
	}
	var left []seriesRow // of times that are listed no more
	times := slices.Clone(l.times)
	for _, r := range have {
		i := slices.IndexFunc(times, func(t listedTime) bool { return t.key() == r.Listed })
		switch {
		case r.Listed == "" || l.closed:
			if r.Closed != l.closed {
				r.Closed = l.closed
				change(r, edit{aim: aim{reason: closedReason}})
			}
		case i < 0:
			left = append(left, r)
		default:
			times = slices.Delete(times, i, i+1)
			if r.Closed || r.Format != l.format {
				r.Closed, r.Format = false, l.format
				change(r, edit{aim: aim{reason: droppedReason}})
			}
		}
	}
	if l.closed {
		return edits
	}
	for _, t := range times {
		row := seriesRow{ID: aip.NewID(), OrgID: l.org, GroupID: l.id, CreateTime: now}
		fresh := len(left) == 0
		if !fresh {
			row = left[0]
		}
		row.Format, row.Closed = l.format, false
		if t.into(&row, now) != nil {
			continue
		}
		if !fresh {
			left = left[1:]
		}
		change(row, edit{aim: aim{fresh: fresh, reason: droppedReason}})
	}
	for _, r := range left {
		r.Closed = true
		change(r, edit{aim: aim{reason: droppedReason}, deleted: true})
	}
	return edits
}

// takeListings brings the calendars of groups in line with what they say, but for those that have said something newer.
func takeListings(ctx context.Context, tx pgx.Tx, list []listing, now time.Time) error {
	calendars, err := lockCalendars(ctx, tx, list)
	if err != nil {
		return err
	}
	list = slices.DeleteFunc(list, func(l listing) bool {
		c, ok := calendars[l.id]
		return !ok || c.GroupRevision >= l.revision
	})
	if len(list) == 0 {
		return nil
	}
	if err := markGroups(ctx, tx, list); err != nil {
		return err
	}
	if err := keepLeads(ctx, tx, list); err != nil {
		return err
	}
	var other []uuid.UUID
	for _, l := range list {
		if calendars[l.id].Format != l.format {
			other = append(other, l.id)
		}
	}
	if err := settleFormats(ctx, tx, other, now); err != nil {
		return err
	}
	have, err := seriesOfGroups(ctx, tx, list)
	if err != nil {
		return err
	}
	var fresh, edits []edit
	for _, l := range list {
		if mine := have[l.id]; len(mine) > 0 {
			edits = append(edits, l.edits(mine, now)...)
		} else {
			fresh = append(fresh, l.edits(nil, now)...)
		}
	}
	if err := planFresh(ctx, tx, fresh, now); err != nil {
		return err
	}
	if len(edits) == 0 {
		return nil
	}
	return reconcileAll(ctx, tx, edits, now)
}

// lockCalendars locks the calendars of groups. One that is not there is made where there is something to plan, or to refuse.
func lockCalendars(ctx context.Context, tx pg.Querier, list []listing) (map[uuid.UUID]calendarRow, error) {
	var ids, groups, orgs []uuid.UUID
	for _, l := range list {
		ids = append(ids, l.id)
		if len(l.times) > 0 || l.closed {
			groups, orgs = append(groups, l.id), append(orgs, l.org)
		}
	}
	if _, err := tx.Exec(ctx, `
		INSERT INTO calendars (group_id, org_id, revision, time_zone, closed, group_revision)
		SELECT g.id, g.org, 0, 'UTC', false, 0 FROM unnest(@groups::uuid[], @orgs::uuid[]) AS g (id, org) ORDER BY g.id
		ON CONFLICT DO NOTHING`, pgx.NamedArgs{"groups": some(groups), "orgs": some(orgs)}); err != nil {
		return nil, fmt.Errorf("make calendars: %w", err)
	}
	rows, err := tx.Query(ctx, `
		SELECT group_id, org_id, closed, group_revision, format FROM calendars WHERE group_id = ANY($1) ORDER BY group_id FOR UPDATE`, ids)
	if err != nil {
		return nil, fmt.Errorf("lock calendars: %w", err)
	}
	all, err := pgx.CollectRows(rows, pgx.RowToStructByName[calendarRow])
	if err != nil {
		return nil, fmt.Errorf("lock calendars: %w", err)
	}
	calendars := make(map[uuid.UUID]calendarRow, len(all))
	for _, c := range all {
		calendars[c.GroupID] = c
	}
	return calendars, nil
}

// markGroups keeps what the groups service told of groups.
func markGroups(ctx context.Context, tx pg.Querier, list []listing) error {
	n := len(list)
	ids, closed, revisions, formats := make([]uuid.UUID, n), make([]bool, n), make([]int64, n), make([]int32, n)
	for i, l := range list {
		ids[i], closed[i], revisions[i], formats[i] = l.id, l.closed, l.revision, l.format
	}
	if _, err := tx.Exec(ctx, `
		UPDATE calendars c SET closed = g.closed, group_revision = g.revision, format = g.format
		FROM unnest($1::uuid[], $2::bool[], $3::bigint[], $4::int[]) AS g (id, closed, revision, format) WHERE c.group_id = g.id`, ids, closed, revisions, formats); err != nil {
		return fmt.Errorf("mark groups: %w", err)
	}
	return nil
}

// seriesOfGroups returns the groups' series that are not deleted.
func seriesOfGroups(ctx context.Context, tx pg.Querier, list []listing) (map[uuid.UUID][]seriesRow, error) {
	ids := make([]uuid.UUID, len(list))
	for i, l := range list {
		ids[i] = l.id
	}
	rows, err := tx.Query(ctx, `SELECT `+seriesColumns+` FROM series WHERE group_id = ANY($1) AND delete_time IS NULL ORDER BY id FOR UPDATE`, ids)
	if err != nil {
		return nil, fmt.Errorf("select series of groups: %w", err)
	}
	all, err := pgx.CollectRows(rows, pgx.RowToStructByName[seriesRow])
	if err != nil {
		return nil, fmt.Errorf("select series of groups: %w", err)
	}
	series := map[uuid.UUID][]seriesRow{}
	for _, r := range all {
		series[r.GroupID] = append(series[r.GroupID], r)
	}
	return series, nil
}
