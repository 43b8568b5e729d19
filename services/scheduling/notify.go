package scheduling

import (
	"cmp"
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/rivertype"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	membershipv1 "cairn.care/gen/cairn/membership/v1"
	schedulingv1 "cairn.care/gen/cairn/scheduling/v1"
	"cairn.care/services/chassis"
	"cairn.care/services/chassis/aip"
	"cairn.care/services/chassis/fault"
	"cairn.care/services/chassis/mail"
	"cairn.care/services/chassis/pg"
	"cairn.care/services/recurrence"
)

//go:embed texts/*.txt
var textFiles embed.FS

// notifyEvery is how often it is looked who is to be written to.
const notifyEvery = time.Minute

// notifier writes to people: reminders, changes, and rosters for those who lead.
type notifier struct {
	*server
	mail       *mail.Outbox
	texts      *mail.Texts
	recipients membershipv1.RecipientsServiceClient
	publicURL  string
}

// startNotifier has people written to, where there is an SMTP server.
func (s *server) startNotifier(h *chassis.Host) error {
	if !h.Mail.On() {
		return nil
	}
	n, err := s.notifier(h.Mail, membershipv1.NewRecipientsServiceClient(h.Peer("membership")), h.Config.PublicURL)
	if err != nil {
		return err
	}
	h.Subscribe(n.ownEvents())
	h.Periodic = append(h.Periodic, river.NewPeriodicJob(river.PeriodicInterval(notifyEvery), func() (river.JobArgs, *river.InsertOpts) {
		return notifyArgs{}, nil
	}, &river.PeriodicJobOpts{RunOnStart: true}))
	return river.AddWorkerSafely(h.Workers, &notifyWorker{notifier: n})
}

func (s *server) notifier(outbox *mail.Outbox, recipients membershipv1.RecipientsServiceClient, publicURL string) (*notifier, error) {
	dir, err := fs.Sub(textFiles, "texts")
	if err != nil {
		return nil, err
	}
	texts, err := mail.NewTexts(dir)
	if err != nil {
		return nil, err
	}
	return &notifier{server: s, mail: outbox, texts: texts, recipients: recipients, publicURL: publicURL}, nil
}

type notifyArgs struct{}

// Kind names the job.
func (notifyArgs) Kind() string { return "scheduling_notify" }

// InsertOpts allows one job at a time; the next minute's is the next attempt.
func (notifyArgs) InsertOpts() river.InsertOpts {
	return river.InsertOpts{MaxAttempts: 1, UniqueOpts: river.UniqueOpts{ByState: []rivertype.JobState{
		rivertype.JobStateAvailable, rivertype.JobStatePending, rivertype.JobStateRunning, rivertype.JobStateScheduled, rivertype.JobStateRetryable,
	}}}
}

type notifyWorker struct {
	river.WorkerDefaults[notifyArgs]
	*notifier
}

// Timeout bounds an attempt.
func (w *notifyWorker) Timeout(*river.Job[notifyArgs]) time.Duration { return jobTimeout }

// Work writes to whoever is to be written to.
func (w *notifyWorker) Work(ctx context.Context, _ *river.Job[notifyArgs]) error {
	return w.notify(ctx)
}

// notify looks for what people are to be told of by now. What cannot be told does not keep the rest from it.
func (n *notifier) notify(ctx context.Context) error {
	groups := map[uuid.UUID]*groupsv1.Group{} // as asked for once in this run
	return errors.Join(n.tellChanges(ctx, groups), n.remind(ctx, groups), n.sendDigests(ctx, groups))
}

// groupOf asks for a group, once a run; nil: there is none.
func (n *notifier) groupOf(ctx context.Context, known map[uuid.UUID]*groupsv1.Group, id uuid.UUID) (*groupsv1.Group, error) {
	if g, ok := known[id]; ok {
		return g, nil
	}
	g, err := n.groups.GetGroup(ctx, &groupsv1.GetGroupRequest{Name: aip.Name("groups", id)})
	if status.Code(err) == codes.NotFound {
		g, err = nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("get group: %w", err)
	}
	known[id] = g
	return g, nil
}

// active asks for the active members of a group whom an e-mail of the kind may be sent to; all, and not how, if no kind is said.
func (n *notifier) active(ctx context.Context, group uuid.UUID, kind membershipv1.Member_MessageKind) ([]*membershipv1.ListRecipientsResponse_Recipient, error) {
	var all []*membershipv1.ListRecipientsResponse_Recipient
	req := &membershipv1.ListRecipientsRequest{Group: aip.Name("groups", group), Kind: kind, PageSize: 500}
	for {
		resp, err := n.recipients.ListRecipients(ctx, req)
		if err != nil {
			return nil, fmt.Errorf("list recipients: %w", err)
		}
		all = append(all, resp.GetRecipients()...)
		if req.PageToken = resp.GetNextPageToken(); req.PageToken == "" {
			return all, nil
		}
	}
}

// answersTo returns the states of the answers to sessions, by session and membership.
func answersTo(ctx context.Context, tx pg.Querier, sessions []uuid.UUID) (map[uuid.UUID]map[string]int32, error) {
	rows, err := tx.Query(ctx, `SELECT session_id, membership_id, state FROM rsvps WHERE session_id = ANY($1)`, sessions)
	if err != nil {
		return nil, fmt.Errorf("read answers: %w", err)
	}
	said := map[uuid.UUID]map[string]int32{}
	var session, membership uuid.UUID
	var state int32
	_, err = pgx.ForEachRow(rows, []any{&session, &membership, &state}, func() error {
		if said[session] == nil {
			said[session] = map[string]int32{}
		}
		said[session][aip.Name("memberships", membership)] = state
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read answers: %w", err)
	}
	return said, nil
}

// stillActive leaves out who is no longer an active member of the group, as this service knows it, and keeps the others from being
// erased until the transaction ends: her erasure then finds what was queued for her.
func stillActive(ctx context.Context, tx pg.Querier, group uuid.UUID, people []*membershipv1.ListRecipientsResponse_Recipient) ([]*membershipv1.ListRecipientsResponse_Recipient, error) {
	if len(people) == 0 {
		return nil, nil
	}
	rows, err := tx.Query(ctx, `SELECT membership_id FROM attendees WHERE group_id = $1 AND active ORDER BY membership_id FOR SHARE`, group)
	if err != nil {
		return nil, fmt.Errorf("lock attendees: %w", err)
	}
	active := map[string]bool{}
	var id uuid.UUID
	if _, err := pgx.ForEachRow(rows, []any{&id}, func() error {
		active[aip.Name("memberships", id)] = true
		return nil
	}); err != nil {
		return nil, fmt.Errorf("lock attendees: %w", err)
	}
	return slices.DeleteFunc(slices.Clone(people), func(r *membershipv1.ListRecipientsResponse_Recipient) bool { return !active[r.GetMembership()] }), nil
}

// message starts a message of a kind to a member.
func (n *notifier) message(r *membershipv1.ListRecipientsResponse_Recipient, kind membershipv1.Member_MessageKind, text string, data any) (mail.Message, error) {
	lang, title, body, err := n.texts.Write(text, r.GetLanguages(), data)
	return mail.Message{
		Subject: r.GetMember(), Kind: kind.String(), To: r.GetEmail(), Language: lang, Title: title, Text: body,
		Unsubscribe: n.publicURL + "/unsubscribe/" + r.GetStopToken(),
	}, err
}

// readersZone is the zone in which a member reads times of something planned in another.
func readersZone(r *membershipv1.ListRecipientsResponse_Recipient, planned string) *time.Location {
	for _, name := range []string{r.GetTimeZone(), planned} {
		if zone, err := recurrence.Zone(name); err == nil {
			return zone
		}
	}
	return time.UTC
}

// quietUntil returns when the quiet hours end in which now lies for a member; false if it lies in none.
func quietUntil(q *membershipv1.Member_QuietHours, now time.Time, zone *time.Location) (time.Time, bool) {
	return mail.QuietUntil(q.GetStart(), q.GetEnd(), now, zone)
}

// whereabouts is how a session is attended, for its members.
type whereabouts struct {
	Place, Join, Phone, How string
}

// where tells how a session of a group is attended. Only members may read it: it has what is never public.
func (r sessionRow) where(g *groupsv1.Group) (w whereabouts) {
	format := schedulingv1.Series_Format(cmp.Or(r.Format, int32(g.GetFormat())))
	if format == schedulingv1.Series_IN_PERSON || format == schedulingv1.Series_HYBRID || r.Place != "" {
		w.Place = cmp.Or(r.Place, venue(g.GetVenue()))
	}
	if format == schedulingv1.Series_ONLINE || format == schedulingv1.Series_HYBRID {
		w.Join, w.How = g.GetOnline().GetJoinUri(), g.GetOnline().GetJoinInstructions()
	}
	if format == schedulingv1.Series_PHONE {
		w.Phone, w.How = g.GetOnline().GetPhone(), g.GetOnline().GetJoinInstructions()
	}
	return w
}

// venue is a venue on one line.
func venue(v *groupsv1.Group_Venue) string {
	a := v.GetAddress()
	var parts []string
	for _, p := range append(append([]string{v.GetLabel()}, a.GetAddressLines()...), strings.TrimSpace(a.GetPostalCode()+" "+a.GetLocality()), v.GetDirections()) {
		if p != "" {
			parts = append(parts, p)
		}
	}
	return strings.Join(parts, ", ")
}

// skippable tells an error of one thing, which the others need not wait for, from one that says that a peer or the database is away.
func (n *notifier) skippable(ctx context.Context, err error) bool {
	return ctx.Err() == nil && !fault.Unreachable(err) && !unreachable(err)
}
