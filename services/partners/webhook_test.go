package partners

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"go.opentelemetry.io/otel/metric/noop"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	partnersv1 "cairn.care/gen/cairn/partners/v1"
	"cairn.care/services/chassis"
	"cairn.care/services/chassis/auth"
	"cairn.care/services/internal/smtptest"
	"cairn.care/services/internal/suitetest"
)

// Events come signed, as CloudEvents, in order, and it is seen what became of them. The secret is told once.
func TestWebhookDelivers(t *testing.T) {
	t.Parallel()
	h := setupWebhooks(t)
	w := h.subscribe(t, h.url+"/inbox")
	if !strings.HasPrefix(w.GetSecret(), "whsec_") || h.get(t, w).GetSecret() != "" || w.GetState() != partnersv1.WebhookSubscription_ACTIVE {
		t.Errorf("created %v, and then %v; want a secret once", w, h.get(t, w))
	}
	referral := name("referrals")
	h.changes(t, referral, 1, 3)
	for revision := range int64(3) {
		got := h.next(t)
		got.verify(t, w.GetSecret())
		if e := got.event; e.Type != "care.cairn.referral.referral.sent.v1" || e.Subject != referral || e.Revision != revision+1 || e.Source != "//cairn.care/referral" ||
			e.ID != got.header.Get("Webhook-Id") || e.Data["state"] != "SENT" || !strings.HasPrefix(got.header.Get("Content-Type"), "application/cloudevents+json") || got.path != "/inbox" {
			t.Errorf("received %s with %v, want revision %d", got.body, got.header, revision+1)
		}
	}
	list := within(t, "all delivered", func() ([]*partnersv1.WebhookDelivery, bool) {
		list := ok(h.ListWebhookDeliveries(h.ctx, &partnersv1.ListWebhookDeliveriesRequest{Parent: w.GetName(), Filter: "state = DELIVERED", PageSize: 2}))(t).GetDeliveries()
		return list, len(list) == 2
	})
	d := ok(h.GetWebhookDelivery(h.ctx, &partnersv1.GetWebhookDeliveryRequest{Name: list[0].GetName()}))(t)
	if len(d.GetAttempts()) != 1 || d.GetAttempts()[0].GetStatusCode() != 200 || d.GetAttempts()[0].GetFailure() != "" || d.GetSubject() != referral || d.GetDeliverTime() == nil || d.NextAttemptTime != nil {
		t.Errorf("the last delivery is %v", d)
	}
}

// What is not of the organization, or not of the types, is not sent.
func TestWebhookSendsWhatIsAskedFor(t *testing.T) {
	t.Parallel()
	h := setupWebhooks(t)
	ok(h.CreateWebhookSubscription(h.ctx, &partnersv1.CreateWebhookSubscriptionRequest{WebhookSubscription: &partnersv1.WebhookSubscription{
		Url: h.url, EventTypes: []string{"care.cairn.referral.referral.no_show_recorded.v1"},
	}}))(t)
	other := suitetest.Client(t.Context(), stranger, "referrals.read")
	ok(h.CreateWebhookSubscription(other, &partnersv1.CreateWebhookSubscriptionRequest{WebhookSubscription: &partnersv1.WebhookSubscription{Url: h.url, EventTypes: []string{"care.cairn.*"}}}))(t)
	if _, err := h.CreateWebhookSubscription(other, &partnersv1.CreateWebhookSubscriptionRequest{WebhookSubscription: &partnersv1.WebhookSubscription{
		Organization: hospital, Url: h.url, EventTypes: []string{"care.cairn.*"},
	}}); status.Code(err) != codes.InvalidArgument {
		t.Errorf("for another organization: %v", err)
	}
	referral := name("referrals")
	h.tell(t, "referral", "referral.sent", referral, 1, sent(referral))
	h.tell(t, "referral", "referral.noXshow_recorded", referral, 2, sent(referral)) // an underscore is no wildcard
	h.tell(t, "referral", "referral.no_show_recorded", referral, 3, sent(referral))
	if got := h.next(t); got.event.Revision != 3 {
		t.Errorf("received %s, want revision 3 only", got.body)
	}
}

// A receiver that is away for three days gets a pause and a letter; when it is back everything comes, in order.
func TestReceiverDownForThreeDays(t *testing.T) {
	t.Parallel()
	mails := smtptest.Start(t, smtptest.Options{})
	h := setupWebhooks(t, suitetest.Mail(mails.Address))
	o := ok(h.CreateOrganization(platform(t), &partnersv1.CreateOrganizationRequest{Organization: &partnersv1.Organization{
		Kind: partnersv1.Organization_HOSPITAL, DisplayName: "Santa Ana", Languages: []string{"es"}, Contact: &partnersv1.Organization_Contact{Email: "ti@anna.example"},
	}}))(t)
	h.ctx = suitetest.Client(t.Context(), o.GetName(), "referrals.read", "partners.read")
	w := h.subscribe(t, h.url)
	h.answers(answering(http.StatusServiceUnavailable))
	referrals := []string{name("referrals"), name("referrals"), name("referrals")}
	say := func(revision int64) {
		for _, r := range referrals {
			data := sent(r)
			data.Organization = o.GetName()
			h.tell(t, "referral", "referral.sent", r, revision, data)
		}
	}
	say(1)
	failing := h.becomes(t, w, "failing", standing(partnersv1.WebhookSubscription_FAILING))
	if failing.GetLastFailure() != "answered 503" || failing.NextAttemptTime == nil || failing.OldestPendingTime == nil {
		t.Errorf("failing is %v", failing)
	}
	// Three days, in the steps that it waits itself.
	for revision := int64(2); ; {
		now := h.get(t, w)
		if now.GetState() == partnersv1.WebhookSubscription_PAUSED {
			break
		}
		if until := now.GetNextAttemptTime(); until != nil {
			if wait := until.AsTime().Sub(h.Clock.Now()); wait > mostWait {
				t.Fatalf("waits %v, at most an hour", wait)
			} else if wait = max(wait, h.lanesWait(t)); wait > 0 {
				h.Clock.Advance(wait)
			}
		}
		if revision < 5 {
			say(revision)
			revision++
		}
	}
	paused := h.get(t, w)
	if paused.GetPauseReason() != partnersv1.WebhookSubscription_NOT_DELIVERED || h.Clock.Now().Sub(paused.GetFailingTime().AsTime()) < giveUp {
		t.Errorf("paused is %v at %v", paused, h.Clock.Now())
	}
	if m := mails.Wait(t, "ti@anna.example", 1)[0]; !strings.Contains(m.Text, "answered 503") || !strings.Contains(m.Text, w.GetName()+":resume") || !strings.Contains(m.Text, "eventos") {
		t.Errorf("the letter is %v", m)
	}
	watch := h.watch(t, h.ctx, &partnersv1.WatchEventsRequest{Types: []string{"care.cairn.partners.webhook_subscription.paused.v1"}})
	if e := watch.next(); e.GetSubject() != w.GetName() || e.GetData().GetFields()["pauseReason"].GetStringValue() != "NOT_DELIVERED" {
		t.Errorf("told is %v", e)
	}
	say(5)
	h.answers(nil)
	for len(h.got) > 0 {
		<-h.got
	}
	ok(h.ResumeWebhookSubscription(h.ctx, &partnersv1.ResumeWebhookSubscriptionRequest{Name: w.GetName()}))(t)
	last := map[string]int64{}
	for n := 0; n < 5*len(referrals); {
		e := h.next(t).event
		switch {
		case e.Revision == last[e.Subject]+1:
			last[e.Subject]++
			n++
		case e.Revision != last[e.Subject]: // once more is no harm
			t.Fatalf("revision %d of %s came after %d", e.Revision, e.Subject, last[e.Subject])
		}
	}
	h.becomes(t, w, "active again with nothing waiting", func(w *partnersv1.WebhookSubscription) bool {
		return w.GetState() == partnersv1.WebhookSubscription_ACTIVE && w.OldestPendingTime == nil && w.GetLastFailure() == ""
	})
}

// A receiver that hangs, and any number of events for it, hold nobody else's.
func TestSlowReceiverHoldsNobody(t *testing.T) {
	t.Parallel()
	h := setupWebhooks(t)
	release := make(chan struct{})
	defer close(release)
	h.answers(func(_ http.ResponseWriter, r *http.Request, body []byte) {
		if strings.HasSuffix(r.URL.Path, "/slow") {
			select {
			case <-release:
			case <-r.Context().Done():
			}
		}
	})
	h.subscribe(t, h.url+"/slow")
	for range 3 * deliverPer {
		h.changes(t, name("referrals"), 1, 1)
	}
	for h.next(t).path != "/slow" {
	}
	quick := h.subscribe(t, h.url+"/quick")
	referral := name("referrals")
	h.changes(t, referral, 1, 20)
	for want := int64(1); want <= 20; {
		if got := h.next(t); got.path == "/quick" && got.event.Subject == referral {
			if got.event.Revision != want {
				t.Fatalf("revision %d came, want %d", got.event.Revision, want)
			}
			want++
		}
	}
	h.becomes(t, quick, "done", func(w *partnersv1.WebhookSubscription) bool { return w.OldestPendingTime == nil })
}

// An event that a receiver refuses holds those about the same resource, and no others.
func TestRefusedEventHoldsItsResource(t *testing.T) {
	t.Parallel()
	h := setupWebhooks(t)
	w := h.subscribe(t, h.url)
	bad, good := name("referrals"), name("referrals")
	h.answers(func(rw http.ResponseWriter, _ *http.Request, body []byte) {
		if strings.Contains(string(body), bad) {
			rw.WriteHeader(http.StatusUnprocessableEntity)
			if _, err := rw.Write([]byte("no such \xff\x00 patient" + strings.Repeat("x", 1000))); err != nil {
				t.Error(err)
			}
		}
	})
	h.changes(t, bad, 1, 2)
	h.changes(t, good, 1, 3)
	for want := int64(1); want <= 3; {
		switch e := h.next(t).event; {
		case e.Subject == good && e.Revision != want, e.Subject == bad && e.Revision != 1:
			t.Fatalf("revision %d of %s came", e.Revision, e.Subject)
		case e.Subject == good:
			want++
		}
	}
	list := within(t, "tried", func() ([]*partnersv1.WebhookDelivery, bool) {
		list := ok(h.ListWebhookDeliveries(h.ctx, &partnersv1.ListWebhookDeliveriesRequest{Parent: w.GetName(), Filter: "state = PENDING AND attempt_count > 0"}))(t).GetDeliveries()
		return list, len(list) == 1
	})
	a := list[0].GetAttempts()[0]
	if a.GetStatusCode() != 422 || a.GetFailure() != "answered 422" || !strings.HasPrefix(a.GetAnswer(), "no such \uFFFD") || len(a.GetAnswer()) > maxAnswer || list[0].NextAttemptTime == nil {
		t.Errorf("the try is %v", list[0])
	}
	if now := h.get(t, w); now.GetState() != partnersv1.WebhookSubscription_ACTIVE {
		t.Errorf("the subscription is %v, want it active", now)
	}
	// Skipped by hand: what comes later is sent.
	h.answers(nil)
	ok(h.ResumeWebhookSubscription(h.ctx, &partnersv1.ResumeWebhookSubscriptionRequest{Name: w.GetName(), SkipPending: true}))(t)
	h.changes(t, bad, 3, 3)
	for {
		if e := h.next(t).event; e.Subject == bad && e.Revision != 1 {
			if e.Revision != 3 {
				t.Errorf("revision %d came, want 3: what waited was skipped", e.Revision)
			}
			break
		}
	}
}

// Receivers are not followed to where they point, and who says that he wants no more gets no more.
func TestRedirectsAndGone(t *testing.T) {
	t.Parallel()
	h := setupWebhooks(t)
	w := h.subscribe(t, h.url+"/old")
	h.answers(func(rw http.ResponseWriter, r *http.Request, _ []byte) {
		switch r.URL.Path {
		case "/old":
			http.Redirect(rw, r, "/new", http.StatusTemporaryRedirect)
		case "/gone":
			rw.WriteHeader(http.StatusGone)
		}
	})
	h.changes(t, name("referrals"), 1, 1)
	failing := h.becomes(t, w, "failing", standing(partnersv1.WebhookSubscription_FAILING))
	if failing.GetLastFailure() != "answered 307: redirects are not followed" {
		t.Errorf("failing is %v", failing)
	}
	w = ok(h.UpdateWebhookSubscription(h.ctx, &partnersv1.UpdateWebhookSubscriptionRequest{WebhookSubscription: &partnersv1.WebhookSubscription{Name: w.GetName(), Url: h.url + "/gone"}}))(t)
	h.Clock.Advance(firstWait)
	if gone := h.becomes(t, w, "paused", standing(partnersv1.WebhookSubscription_PAUSED)); gone.GetPauseReason() != partnersv1.WebhookSubscription_GONE {
		t.Errorf("paused is %v", gone)
	}
	for len(h.got) > 0 {
		if one := <-h.got; one.path == "/new" {
			t.Error("a redirect was followed")
		}
	}
}

// Addresses inside the network are refused after DNS, and nothing is told of them.
func TestPrivateReceiversAreRefused(t *testing.T) {
	t.Parallel()
	h := setupWebhooks(t, func(c *chassis.Config) { c.AllowPrivateOutbound = false })
	w := h.subscribe(t, strings.Replace(h.url, "127.0.0.1", "localhost", 1))
	h.changes(t, name("referrals"), 1, 1)
	if failing := h.becomes(t, w, "failing", standing(partnersv1.WebhookSubscription_FAILING)); failing.GetLastFailure() != "the address is not one of the public internet" {
		t.Errorf("failing is %v", failing)
	}
	if len(h.got) > 0 {
		t.Error("a private address was reached")
	}
	test := ok(h.TestWebhookSubscription(h.ctx, &partnersv1.TestWebhookSubscriptionRequest{Name: w.GetName()}))(t)
	if test.GetAttempt().GetFailure() != "the address is not one of the public internet" {
		t.Errorf("the test says %v", test)
	}
}

// What a process was sending when it died is sent by another when its lease ends, and it records nothing any more.
func TestKilledSender(t *testing.T) {
	t.Parallel()
	h := setupWebhooks(t)
	w := h.subscribe(t, h.url)
	ok(h.PauseWebhookSubscription(h.ctx, &partnersv1.PauseWebhookSubscriptionRequest{Name: w.GetName()}))(t)
	referral := name("referrals")
	h.changes(t, referral, 1, 2)
	system := auth.System(t.Context(), Name)
	within(t, "in line", func() (int, bool) {
		n := 0
		err := h.DBs[Name].Tx(system, func(tx pgx.Tx) error {
			return tx.QueryRow(system, `SELECT count(*) FROM webhook_deliveries`).Scan(&n)
		})
		return n, err == nil && n == 2
	})
	dead := ok(newDeliverer(&service{db: h.DBs[Name], clock: h.Clock}, nil, noop.Meter{}))(t)
	l := lane{uuid.MustParse(strings.TrimPrefix(w.GetName(), "webhookSubscriptions/")), referral, uuid.New()}
	args := l.args()
	args["until"] = h.Clock.Now().Add(leaseFor)
	err := h.DBs[Name].Tx(system, func(tx pgx.Tx) error {
		for _, sql := range []string{
			`UPDATE webhook_lanes SET due_time = @until, lease = @lease WHERE subscription_id = @sub AND subject = @subject`,
			`UPDATE webhook_subscriptions SET state = 'ACTIVE', pause_reason = '' WHERE id = @sub`,
		} {
			if _, err := tx.Exec(system, sql, args); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	taken := ok(dead.first(system, l))(t)
	if taken == nil || taken.Subject != referral {
		t.Fatalf("the dead one had %v", taken)
	}
	// Others are served meanwhile, this one is not.
	other := name("referrals")
	h.changes(t, other, 1, 1)
	if e := h.next(t).event; e.Subject != other {
		t.Errorf("%s was sent, which another has", e.Subject)
	}
	h.Clock.Advance(leaseFor)
	for want := int64(1); want <= 2; want++ {
		if e := h.next(t).event; e.Subject != referral || e.Revision != want {
			t.Errorf("then %v, want revision %d", e, want)
		}
	}
	next, err := dead.delivered(system, l, taken, &outcome{attemptRow: attemptRow{StatusCode: 200, Time: h.Clock.Now()}})
	if err != nil || next != nil {
		t.Errorf("who has lost the lease goes on with %v, %v", next, err)
	}
}

// While two secrets overlap both verify; then the new one alone.
func TestRotateWebhookSecret(t *testing.T) {
	t.Parallel()
	h := setupWebhooks(t)
	w := h.subscribe(t, h.url)
	rotated := ok(h.RotateWebhookSecret(h.ctx, &partnersv1.RotateWebhookSecretRequest{Name: w.GetName(), Overlap: durationpb.New(time.Hour)}))(t)
	if rotated.GetSecret() == "" || rotated.GetSecret() == w.GetSecret() || !rotated.GetPreviousSecretExpireTime().AsTime().Equal(h.Clock.Now().Add(time.Hour)) {
		t.Errorf("rotated is %v", rotated)
	}
	h.changes(t, name("referrals"), 1, 1)
	got := h.next(t)
	got.verify(t, w.GetSecret())
	got.verify(t, rotated.GetSecret())
	h.Clock.Advance(time.Hour)
	h.changes(t, name("referrals"), 1, 1)
	got = h.next(t)
	got.verify(t, rotated.GetSecret())
	if strings.Contains(got.header.Get("Webhook-Signature"), " ") {
		t.Errorf("signed with %q an hour later, want one signature", got.header.Get("Webhook-Signature"))
	}
}

// What was delivered is sent again from a point of the log on, or one by one.
func TestReplayAndRedeliver(t *testing.T) {
	t.Parallel()
	h := setupWebhooks(t)
	referral := name("referrals")
	h.changes(t, referral, 1, 2)
	watch := h.watch(t, h.ctx, &partnersv1.WatchEventsRequest{Types: []string{"care.cairn.referral.*"}})
	first := watch.next()
	watch.next()
	w := h.subscribe(t, h.url) // of what comes from now on
	h.changes(t, referral, 3, 4)
	ids := map[int64]string{}
	for want := int64(3); want <= 4; want++ {
		e := h.next(t).event
		ids[e.Revision] = e.ID
	}
	h.becomes(t, w, "done", func(w *partnersv1.WebhookSubscription) bool { return w.OldestPendingTime == nil })
	n := ok(h.ReplayWebhookEvents(h.ctx, &partnersv1.ReplayWebhookEventsRequest{Name: w.GetName(), Start: &partnersv1.ReplayWebhookEventsRequest_Cursor{Cursor: first.GetCursor()}}))(t)
	if n.GetEventCount() != 3 {
		t.Errorf("%d events are sent again, want 3", n.GetEventCount())
	}
	for want := int64(2); want <= 4; want++ {
		if e := h.next(t).event; e.Revision != want || ids[want] != "" && ids[want] != e.ID {
			t.Errorf("again came %v, want revision %d with its id", e, want)
		}
	}
	h.becomes(t, w, "done", func(w *partnersv1.WebhookSubscription) bool { return w.OldestPendingTime == nil })
	all := ok(h.ListWebhookDeliveries(h.ctx, &partnersv1.ListWebhookDeliveriesRequest{Parent: w.GetName()}))(t).GetDeliveries()
	i := slices.IndexFunc(all, func(d *partnersv1.WebhookDelivery) bool { return d.GetEvent() == ids[3] })
	again := ok(h.RedeliverWebhookEvent(h.ctx, &partnersv1.RedeliverWebhookEventRequest{Name: all[i].GetName()}))(t)
	if again.GetState() != partnersv1.WebhookDelivery_PENDING || again.GetAttemptCount() != 2 {
		t.Errorf("again is %v", again)
	}
	if e := h.next(t).event; e.ID != ids[3] {
		t.Errorf("one again came %v", e)
	}
	n = ok(h.ReplayWebhookEvents(h.ctx, &partnersv1.ReplayWebhookEventsRequest{Name: w.GetName(), Start: &partnersv1.ReplayWebhookEventsRequest_StartTime{StartTime: timestamppb.New(h.Clock.Now().Add(-time.Hour))}}))(t)
	if n.GetEventCount() != 4 {
		t.Errorf("%d events since an hour, want 4", n.GetEventCount())
	}
}

// A test is sent also while nothing else is, and is no delivery.
func TestTestWebhook(t *testing.T) {
	t.Parallel()
	h := setupWebhooks(t)
	w := h.subscribe(t, h.url)
	ok(h.PauseWebhookSubscription(h.ctx, &partnersv1.PauseWebhookSubscriptionRequest{Name: w.GetName()}))(t)
	h.answers(answering(http.StatusTeapot))
	resp := ok(h.TestWebhookSubscription(h.ctx, &partnersv1.TestWebhookSubscriptionRequest{Name: w.GetName()}))(t)
	if resp.GetAttempt().GetStatusCode() != http.StatusTeapot || resp.GetAttempt().GetFailure() != "answered 418" {
		t.Errorf("the test says %v", resp)
	}
	got := h.next(t)
	got.verify(t, w.GetSecret())
	if got.event.Type != "care.cairn.partners.webhook_subscription.tested.v1" || got.event.Subject != w.GetName() {
		t.Errorf("sent was %s", got.body)
	}
	if list := ok(h.ListWebhookDeliveries(h.ctx, &partnersv1.ListWebhookDeliveriesRequest{Parent: w.GetName()}))(t); len(list.GetDeliveries()) > 0 {
		t.Errorf("deliveries are %v, want none", list)
	}
}

// Subscriptions are their organization's, and of who may read what they send.
func TestWebhooksAreTheirOrganizations(t *testing.T) {
	t.Parallel()
	h := setupWebhooks(t)
	w := h.subscribe(t, h.url)
	for who, tc := range map[string]struct {
		org    string
		scopes []string
		want   codes.Code
	}{
		"another organization":          {stranger, []string{"referrals.read"}, codes.NotFound},
		"who may not read its events":   {hospital, []string{"groups.read"}, codes.PermissionDenied},
		"who may":                       {hospital, []string{"referrals.write", "groups.read"}, codes.OK},
		"the platform with other scope": {"", []string{"partners.read"}, codes.PermissionDenied},
	} {
		ctx := suitetest.Client(t.Context(), tc.org, tc.scopes...)
		if tc.org == "" {
			ctx = suitetest.Platform(t.Context(), tc.scopes...)
		}
		_, err := h.GetWebhookSubscription(ctx, &partnersv1.GetWebhookSubscriptionRequest{Name: w.GetName()})
		if code, _ := reason(err); code != tc.want {
			t.Errorf("%s: get %v, want %v", who, err, tc.want)
		}
		list := ok(h.ListWebhookSubscriptions(ctx, &partnersv1.ListWebhookSubscriptionsRequest{}))(t)
		if n := len(list.GetWebhookSubscriptions()); (n == 1) != (tc.want == codes.OK) {
			t.Errorf("%s: lists %d", who, n)
		}
		_, err = h.DeleteWebhookSubscription(ctx, &partnersv1.DeleteWebhookSubscriptionRequest{Name: w.GetName(), Etag: `"99"`})
		if code, _ := reason(err); code != tc.want && code != codes.Aborted {
			t.Errorf("%s: delete %v, want %v", who, err, tc.want)
		}
	}
	ok(h.DeleteWebhookSubscription(h.ctx, &partnersv1.DeleteWebhookSubscriptionRequest{Name: w.GetName(), Etag: w.GetEtag()}))(t)
	if _, err := h.GetWebhookSubscription(h.ctx, &partnersv1.GetWebhookSubscriptionRequest{Name: w.GetName()}); err == nil {
		t.Error("a deleted subscription is still there")
	}
}

// Bad ones are refused, with the field.
func TestWebhookRefusals(t *testing.T) {
	t.Parallel()
	h := setupWebhooks(t)
	good := func() *partnersv1.WebhookSubscription {
		return &partnersv1.WebhookSubscription{Url: "https://example.org/", EventTypes: []string{"care.cairn.referral.*"}}
	}
	for want, change := range map[string]func(*partnersv1.WebhookSubscription){
		"webhook_subscription.url":            func(w *partnersv1.WebhookSubscription) { w.Url = "http://example.org/" },
		"webhook_subscription.event_types":    func(w *partnersv1.WebhookSubscription) { w.EventTypes = nil },
		"webhook_subscription.event_types[0]": func(w *partnersv1.WebhookSubscription) { w.EventTypes = []string{"*"} },
		"webhook_subscription.fhir": func(w *partnersv1.WebhookSubscription) {
			w.Fhir = &partnersv1.WebhookSubscription_Fhir{Topic: partnersv1.WebhookSubscription_Fhir_TASK}
		},
	} {
		w := good()
		change(w)
		if _, err := h.CreateWebhookSubscription(h.ctx, &partnersv1.CreateWebhookSubscriptionRequest{WebhookSubscription: w}); field(err) != want {
			t.Errorf("%v: %v, want it refused for %s", w, err, want)
		}
	}
	w := good()
	w.EventTypes = []string{"care.cairn.membership.*"}
	_, err := h.CreateWebhookSubscription(h.ctx, &partnersv1.CreateWebhookSubscriptionRequest{WebhookSubscription: w})
	if code, why := reason(err); code != codes.PermissionDenied || why != "MISSING_SCOPE" {
		t.Errorf("events without their scope: %v", err)
	}
	for range maxWebhooks {
		h.subscribe(t, "https://example.org/")
	}
	_, err = h.CreateWebhookSubscription(h.ctx, &partnersv1.CreateWebhookSubscriptionRequest{WebhookSubscription: good()})
	if _, why := reason(err); why != "TOO_MANY_SUBSCRIPTIONS" {
		t.Errorf("one more than %d: %v", maxWebhooks, err)
	}
}
