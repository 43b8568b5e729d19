package scheduling

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	membershipv1 "cairn.care/gen/cairn/membership/v1"
	"cairn.care/services/chassis/aip"
	"cairn.care/services/chassis/mail"
	"cairn.care/services/recurrence"
)

// digestHour is when the rosters of a day go out, on the day before and on the wall clock of the sessions.
const digestHour = 17

// digestDay is a day of sessions in one zone and organization: their rosters go out together.
type digestDay struct {
	org  uuid.UUID
	zone string
	day  time.Time // its midnight, in the zone
}

// sendDigests sends those who lead sessions the rosters of the next day.
func (n *notifier) sendDigests(ctx context.Context, groups map[uuid.UUID]*groupsv1.Group) error {
	now := n.clock.Now()
	var rows []sessionRow
	if err := n.db.Tx(ctx, func(tx pgx.Tx) error {
		found, err := tx.Query(ctx, `
			SELECT `+sessionColumns+` FROM sessions s
			WHERE s.state IN (1, 2) AND s.start_time > @now AND s.start_time <= @now + interval '32 hours'
				AND (EXISTS (SELECT FROM attendees a WHERE a.group_id = s.group_id AND a.active)
					OR EXISTS (SELECT FROM session_facilitators f WHERE f.session_id = s.id))
				AND NOT EXISTS (SELECT FROM digests d WHERE d.session_id = s.id AND d.start_time = s.start_time)
			ORDER BY s.start_time, s.id`, pgx.NamedArgs{"now": now})
		if err != nil {
			return err
		}
		rows, err = pgx.CollectRows(found, pgx.RowToStructByName[sessionRow])
		return err
	}); err != nil {
		return fmt.Errorf("find rosters to send: %w", err)
	}
	days := map[digestDay][]sessionRow{}
	var order []digestDay
	for _, r := range rows {
		zone, err := recurrence.Zone(r.TimeZone)
		if err != nil {
			n.log.ErrorContext(ctx, "cannot send the roster of a session", "session", r.name(), "error", err)
			continue
		}
		local := r.StartTime.In(zone)
		d := digestDay{r.OrgID, r.TimeZone, time.Date(local.Year(), local.Month(), local.Day(), 0, 0, 0, 0, zone)}
		if now.Before(time.Date(local.Year(), local.Month(), local.Day()-1, digestHour, 0, 0, 0, zone)) {
			continue
		}
		if days[d] == nil {
			order = append(order, d)
		}
		days[d] = append(days[d], r)
	}
	var broken []error
	for _, d := range order {
		if err := n.digestOf(ctx, d, days[d], groups); err != nil {
			broken = append(broken, fmt.Errorf("rosters of %s: %w", aip.Name("organizations", d.org), err))
			if !n.skippable(ctx, err) {
				break
			}
		}
	}
	return errors.Join(broken...)
}

// digestOf queues the rosters of a day in the transaction that notes that they are.
func (n *notifier) digestOf(ctx context.Context, d digestDay, rows []sessionRow, groups map[uuid.UUID]*groupsv1.Group) error {
	leads := map[string][]sessionRow{} // by facilitator
	rosters := map[uuid.UUID][]*membershipv1.ListRecipientsResponse_Recipient{}
	for _, r := range rows {
		group, err := n.groupOf(ctx, groups, r.GroupID)
		if err != nil {
			return err
		}
		for _, f := range r.ledBy(group) {
			leads[f] = append(leads[f], r)
		}
	}
	people := map[string]*groupsv1.Facilitator{}
	for name, own := range leads {
		f, err := n.groups.GetFacilitator(ctx, &groupsv1.GetFacilitatorRequest{Name: name})
		if status.Code(err) == codes.NotFound || err == nil && f.GetEmail() == "" {
			continue
		}
		if err != nil {
			return fmt.Errorf("get facilitator: %w", err)
		}
		people[name] = f
		for _, r := range own {
			if rosters[r.GroupID] != nil {
				continue
			}
			if rosters[r.GroupID], err = n.active(ctx, r.GroupID, membershipv1.Member_MESSAGE_KIND_UNSPECIFIED); err != nil {
				return err
			}
		}
	}
	return n.db.Tx(ctx, func(tx pgx.Tx) error {
		ids, starts := make([]uuid.UUID, len(rows)), make([]time.Time, len(rows))
		for i, r := range rows {
			ids[i], starts[i] = r.ID, r.StartTime
		}
		said, err := answersTo(ctx, tx, ids)
		if err != nil {
			return err
		}
		b := &pgx.Batch{}
		b.Queue(`
			INSERT INTO digests (session_id, start_time, org_id) SELECT id, start, @org FROM unnest(@ids::uuid[], @starts::timestamptz[]) AS s (id, start)
			ON CONFLICT DO NOTHING`, pgx.NamedArgs{"ids": ids, "starts": starts, "org": d.org})
		for name, f := range people {
			var of []digestSession
			for _, r := range leads[name] {
				of = append(of, rosterOf(r, groups[r.GroupID], rosters[r.GroupID], said[r.ID], d.day.Location()))
			}
			m, err := n.digest(d, f, leads[name], of)
			if err != nil {
				return err
			}
			if err := n.mail.Queue(b, m); err != nil {
				return err
			}
		}
		return sendAll(ctx, tx, b, "queue rosters")
	})
}

// ledBy returns the names of those who lead a session: its own, or its group's.
func (r sessionRow) ledBy(g *groupsv1.Group) (names []string) {
	for _, id := range r.Facilitators {
		names = append(names, aip.Name("facilitators", id))
	}
	if names != nil {
		return names
	}
	for _, f := range g.GetFacilitators() {
		if f.GetRole() != groupsv1.Group_FacilitatorRole_CLINICAL_ADVISOR {
			names = append(names, f.GetFacilitator())
		}
	}
	return names
}

// digestSession is a session with who comes, by alias.
type digestSession struct {
	Group, Topic, Place                  string
	Start, End                           time.Time
	Coming, Maybe, Waiting, Silent, Away []string
	Nobody                               bool
}

func rosterOf(r sessionRow, g *groupsv1.Group, people []*membershipv1.ListRecipientsResponse_Recipient, said map[string]int32, zone *time.Location) digestSession {
	d := digestSession{
		Group: g.GetTitle(), Topic: r.Topic, Place: r.where(g).Place, Start: r.StartTime.In(zone), End: r.EndTime.In(zone), Nobody: len(people) == 0,
	}
	for _, p := range people {
		list := &d.Silent
		switch said[p.GetMembership()] {
		case confirmed:
			list = &d.Coming
		case tentative:
			list = &d.Maybe
		case waitlisted:
			list = &d.Waiting
		case declined:
			list = &d.Away
		}
		*list = append(*list, p.GetAlias())
	}
	for _, list := range [][]string{d.Coming, d.Maybe, d.Waiting, d.Silent, d.Away} {
		slices.SortFunc(list, func(a, b string) int {
			return cmp.Or(strings.Compare(strings.ToLower(a), strings.ToLower(b)), strings.Compare(a, b))
		})
	}
	return d
}

// digest is the message with the rosters of a day to one who leads.
func (n *notifier) digest(d digestDay, f *groupsv1.Facilitator, own []sessionRow, sessions []digestSession) (mail.Message, error) {
	lang, title, text, err := n.texts.Write("digest", f.GetLanguages(), struct {
		Name     string
		Day      time.Time
		Sessions []digestSession
	}{f.GetDisplayName(), d.day, sessions})
	if err != nil {
		return mail.Message{}, err
	}
	var of strings.Builder
	for _, r := range own {
		fmt.Fprintf(&of, "%s %d ", r.name(), r.StartTime.Unix())
	}
	return mail.Message{
		Key: fmt.Sprintf("digest %s %s", f.GetName(), of.String()), Subject: f.GetName(), To: f.GetEmail(), Language: lang, Title: title, Text: text,
		Expires: own[len(own)-1].EndTime,
	}, nil
}
