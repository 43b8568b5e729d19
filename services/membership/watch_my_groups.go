package membership

import (
	"context"
	"fmt"
	"log/slog"
	"slices"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"google.golang.org/grpc"

	membershipv1 "cairn.care/gen/cairn/membership/v1"
	schedulingv1 "cairn.care/gen/cairn/scheduling/v1"
	"cairn.care/services/chassis/aip"
	"cairn.care/services/chassis/audit"
	"cairn.care/services/chassis/changefeed"
	"cairn.care/services/chassis/events"
	"cairn.care/services/chassis/fault"
	"cairn.care/services/chassis/page"
	"cairn.care/services/chassis/pg"
)

// newsPage is how many rows a look takes.
const newsPage = 100

// newsTables are the tables whose changes are news.
var newsTables = []string{"memberships", "announcements", "group_news"}

// openNews makes sure that the transaction ids in the tables are of this cluster.
func (s *server) openNews(ctx context.Context, db *pg.DB, log *slog.Logger) error {
	return changefeed.Open(ctx, db, service, log, changefeed.Table{Name: "memberships", Key: "id"},
		changefeed.Table{Name: "announcements", Key: "id"}, changefeed.Table{Name: "group_news", Key: "group_id"})
}

// WatchMyGroups implements GroupAppsService.
func (s *server) WatchMyGroups(req *membershipv1.WatchMyGroupsRequest, stream grpc.ServerStreamingServer[membershipv1.WatchMyGroupsResponse]) error {
	ctx := stream.Context()
	p, err := personOf(ctx, req.GetPerson())
	if err != nil {
		return err
	}
	n := &newsFeed{server: s, person: p}
	if err := n.open(ctx, req.GetSyncToken()); err != nil {
		return err
	}
	return changefeed.Watch(ctx, s.pulse, n.next, n.token, func(news []*membershipv1.GroupNews, token string) error {
		return stream.Send(&membershipv1.WatchMyGroupsResponse{News: news, NextSyncToken: token})
	})
}

// newsCursor is what a sync token holds: the change that was told last.
type newsCursor struct {
	Generation int64     `json:"g"`
	XID        uint64    `json:"x"`
	What       int32     `json:"w"`
	ID         uuid.UUID `json:"i"`
}

// newsFeed reads what changes in a person's groups, page by page.
type newsFeed struct {
	server *server
	person person
	cursor newsCursor
}

func (n *newsFeed) bound() []any {
	return []any{"WatchMyGroups", n.person.member, n.person.facilitator}
}

func (n *newsFeed) token() (string, error) { return page.Encode(n.cursor, n.bound()...) }

// open goes to where a token stands; without one, to now.
func (n *newsFeed) open(ctx context.Context, token string) error {
	cursor, given, err := page.Decode[newsCursor](token, n.bound()...)
	if err != nil {
		return fault.Invalid(fault.Field("sync_token", "is no token of this server for this person: pass next_sync_token of a message unchanged"))
	}
	var generation int64
	var horizon, ahead uint64
	b := n.server.db.Batch(ctx)
	b.Queue(`SELECT generation, pg_snapshot_xmin(pg_current_snapshot()), pg_snapshot_xmax(pg_current_snapshot()) FROM change_feed`).
		QueryRow(func(row pgx.Row) error { return row.Scan(&generation, &horizon, &ahead) })
	n.person.queueKnown(b, n.person.args(ctx))
	audit.Queue(ctx, b, n.person.name())
	if err := n.person.orNotFound(n.server.db.Send(ctx, b)); err != nil {
		return fmt.Errorf("read change feed: %w", err)
	}
	switch {
	case !given:
		n.cursor = newsCursor{Generation: generation, XID: horizon - 1, What: lastWhat, ID: uuid.Max}
	case cursor.Generation != generation, cursor.XID > ahead: // from before a restore, or from another server
		return changefeed.Expired("the database")
	default:
		n.cursor = cursor
	}
	return nil
}

// lastWhat is behind every kind of change within a transaction.
const lastWhat = 9

// newsRow is one change: 1 a membership, 3 an announcement, 5 a calendar, 6 a group.
type newsRow struct {
	XID     uint64
	What    int32
	ID      uuid.UUID
	GroupID uuid.UUID
	Named   bool // the person may see the membership itself
}

// selectNews reads the changes in a person's groups, of all transactions below the oldest that still runs.
const selectNews = `
WITH mine AS (
	SELECT group_id FROM memberships WHERE member_id = @member AND state IN (4, 5) AND (@all OR org_id = @org)
	UNION SELECT group_id FROM group_leads WHERE facilitator_id = @lead AND role IN (1, 2) AND (@all OR org_id = @org)
), led AS (
	SELECT group_id FROM group_leads WHERE facilitator_id = @lead AND role IN (1, 2) AND (@all OR org_id = @org)
)
SELECT * FROM (
	SELECT x.changed_xid AS xid, 1 AS what, x.id, x.group_id, x.member_id = @member OR x.group_id IN (SELECT group_id FROM led) AS named
	FROM memberships x
	WHERE x.changed_xid >= @xid AND (x.member_id = @member OR x.group_id IN (SELECT group_id FROM mine)) AND (@all OR x.org_id = @org)
	UNION ALL
	SELECT a.changed_xid, 3, a.id, a.group_id, true FROM announcements a
	WHERE a.changed_xid >= @xid AND a.group_id IN (SELECT group_id FROM mine JOIN group_seats s USING (group_id) WHERE NOT s.deleted)
	UNION ALL
	SELECT g.changed_xid, g.what, g.group_id, g.group_id, true FROM group_news g
	WHERE g.changed_xid >= @xid AND g.group_id IN (SELECT group_id FROM mine)
) AS n
WHERE (n.xid, n.what, n.id) > (@xid, @what, @id) AND n.xid < pg_snapshot_xmin(pg_current_snapshot())
ORDER BY n.xid, n.what, n.id LIMIT @limit`

// next returns the next page, and whether there is more already. An empty page is no error.
func (n *newsFeed) next(ctx context.Context) (news []*membershipv1.GroupNews, more bool, err error) {
	args := n.person.args(ctx)
	args["xid"], args["what"], args["id"], args["limit"] = n.cursor.XID, n.cursor.What, n.cursor.ID, newsPage+1
	var generation int64
	var horizon uint64
	var rows []newsRow
	err = n.server.db.Tx(ctx, func(tx pgx.Tx) error {
		b := new(pgx.Batch)
		b.Queue(`SELECT generation, pg_snapshot_xmin(pg_current_snapshot()) FROM change_feed`).QueryRow(func(row pgx.Row) error {
			return row.Scan(&generation, &horizon)
		})
		b.Queue(selectNews, args).Query(func(r pgx.Rows) (err error) {
			rows, err = pgx.CollectRows(r, pgx.RowToStructByPos[newsRow])
			return err
		})
		if err := send(ctx, tx, b); err != nil {
			return err
		}
		if more = len(rows) > newsPage; more {
			rows = rows[:newsPage]
		}
		news, err = n.read(ctx, tx, rows)
		return err
	})
	switch {
	case err != nil:
		return nil, false, fmt.Errorf("look for news: %w", err)
	case generation != n.cursor.Generation: // since the watch began
		return nil, false, changefeed.Expired("the database")
	}
	if i := len(rows); i > 0 {
		n.cursor.XID, n.cursor.What, n.cursor.ID = rows[i-1].XID, rows[i-1].What, rows[i-1].ID
	}
	if !more && horizon > n.cursor.XID+1 {
		n.cursor.XID, n.cursor.What, n.cursor.ID = horizon-1, lastWhat, uuid.Max
	}
	return news, more, nil
}

// read returns the rows as the person is told of them: as they are now, and that others come and go once for each group.
func (n *newsFeed) read(ctx context.Context, tx pgx.Tx, rows []newsRow) ([]*membershipv1.GroupNews, error) {
	var named, announced []uuid.UUID
	for _, r := range rows {
		switch {
		case r.What == 1 && r.Named:
			named = append(named, r.ID)
		case r.What == 3:
			announced = append(announced, r.ID)
		}
	}
	if len(rows) == 0 {
		return nil, nil
	}
	var memberships []*membershipRow
	var announcements []*announcementRow
	b := new(pgx.Batch)
	if len(named) > 0 {
		b.Queue(`SELECT `+membershipColumns+fromMemberships+` WHERE x.id = ANY(@ids)`, pgx.NamedArgs{"ids": named}).Query(all(&memberships))
	}
	if len(announced) > 0 {
		b.Queue(`SELECT `+announcementColumns+` FROM announcements a WHERE a.id = ANY(@ids)`, pgx.NamedArgs{"ids": announced}).Query(all(&announcements))
	}
	audit.Queue(ctx, b, n.person.name())
	if err := send(ctx, tx, b); err != nil {
		return nil, err
	}
	var news []*membershipv1.GroupNews
	tell := func(r newsRow, m *membershipv1.GroupNews) {
		m.Group = aip.Name("groups", r.GroupID)
		news = append(news, m)
	}
	for _, r := range rows {
		switch r.What {
		case 1:
			if i := slices.IndexFunc(memberships, func(m *membershipRow) bool { return m.ID == r.ID }); r.Named && i >= 0 {
				tell(r, &membershipv1.GroupNews{Kind: membershipv1.GroupNews_MEMBERSHIP, Resource: memberships[i].name(), Membership: memberships[i].toProto()})
			}
			if !slices.ContainsFunc(news, func(o *membershipv1.GroupNews) bool {
				return o.GetKind() == membershipv1.GroupNews_ROSTER && o.GetGroup() == aip.Name("groups", r.GroupID)
			}) {
				tell(r, &membershipv1.GroupNews{Kind: membershipv1.GroupNews_ROSTER})
			}
		case 3:
			if i := slices.IndexFunc(announcements, func(a *announcementRow) bool { return a.ID == r.ID }); i >= 0 {
				m, err := n.announcement(announcements[i])
				if err != nil {
					return nil, err
				}
				tell(r, m)
			}
		case 5:
			tell(r, &membershipv1.GroupNews{Kind: membershipv1.GroupNews_CALENDAR})
		case 6:
			tell(r, &membershipv1.GroupNews{Kind: membershipv1.GroupNews_GROUP})
		}
	}
	return news, nil
}

func (n *newsFeed) announcement(r *announcementRow) (*membershipv1.GroupNews, error) {
	m := &membershipv1.GroupNews{Kind: membershipv1.GroupNews_ANNOUNCEMENT_REMOVED, Resource: r.name()}
	if r.DeleteTime != nil || r.ExpireTime != nil && !r.ExpireTime.After(n.server.clock.Now()) {
		return m, nil
	}
	var err error
	m.Kind = membershipv1.GroupNews_ANNOUNCEMENT
	m.Announcement, err = r.toProto(n.server.keys)
	return m, err
}

// calendarSubscription follows when groups meet.
func (s *server) calendarSubscription() events.Subscription {
	return events.Subscription{Name: "membership-scheduling", Source: "scheduling", Handlers: map[string]events.Handler{
		"care.cairn.scheduling.calendar.changed.v1": s.calendarChanged,
	}}
}

// calendarChanged makes news of it for the group's people, where anybody is known to be in the group.
func (s *server) calendarChanged(_ context.Context, e *events.Received) (events.Write, error) {
	var changed schedulingv1.CalendarChanged
	if err := e.Decode(&changed); err != nil {
		return nil, events.Poison(err)
	}
	group, err := aip.ParseName("group", "groups", changed.GetGroup())
	if err != nil {
		return nil, events.Poison(err)
	}
	return func(ctx context.Context, tx pgx.Tx) error {
		_, err := tx.Exec(ctx, `INSERT INTO group_news (group_id, what, org_id, revision)
			SELECT g.group_id, 5, g.org_id, @revision FROM group_seats g WHERE g.group_id = @group
			ON CONFLICT (group_id, what) DO UPDATE SET revision = EXCLUDED.revision WHERE group_news.revision < EXCLUDED.revision`,
			pgx.NamedArgs{"group": group, "revision": changed.GetRevision()})
		return err
	}, nil
}
