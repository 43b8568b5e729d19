package partners

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	partnersv1 "cairn.care/gen/cairn/partners/v1"
	"cairn.care/services/chassis"
	"cairn.care/services/internal/suitetest"
)

// receiver is somebody's system that events are sent to.
type receiver struct {
	url   string
	roots *x509.CertPool

	mu     sync.Mutex
	answer func(w http.ResponseWriter, r *http.Request, body []byte)
	got    chan *received
}

// received is one request.
type received struct {
	header http.Header
	path   string
	body   []byte
	event  struct {
		ID, Source, Type, Subject string
		Revision                  int64
		Data                      map[string]any
	}
}

// newReceiver starts one that takes everything.
func newReceiver(t testing.TB) *receiver {
	t.Helper()
	r := &receiver{got: make(chan *received, 10_000), roots: x509.NewCertPool()}
	srv := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		body, err := io.ReadAll(req.Body)
		if err != nil {
			return // the sender has gone
		}
		one := &received{header: req.Header.Clone(), path: req.URL.Path, body: body}
		if err := json.Unmarshal(body, &one.event); err != nil {
			t.Errorf("received %q: %v", body, err)
		}
		r.got <- one
		r.mu.Lock()
		answer := r.answer
		r.mu.Unlock()
		if answer != nil {
			answer(w, req, body)
		}
	}))
	t.Cleanup(srv.Close)
	r.url = srv.URL
	r.roots.AddCert(srv.Certificate())
	return r
}

// answers has the receiver answer so from now on; nil takes everything.
func (r *receiver) answers(f func(w http.ResponseWriter, r *http.Request, body []byte)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.answer = f
}

func answering(code int) func(http.ResponseWriter, *http.Request, []byte) {
	return func(w http.ResponseWriter, _ *http.Request, _ []byte) { w.WriteHeader(code) }
}

// next returns the next request.
func (r *receiver) next(t testing.TB) *received {
	t.Helper()
	select {
	case one := <-r.got:
		return one
	case <-time.After(30 * time.Second):
		t.Fatal("nothing was sent")
		return nil
	}
}

// verify fails the test if a request is not signed with the secret, as the reference library sees it.
func (one *received) verify(t testing.TB, secret string) {
	t.Helper()
	wh, err := standardwebhooks.NewWebhook(secret)
	if err != nil {
		t.Fatal(err)
	}
	if err := wh.VerifyIgnoringTimestamp(one.body, one.header); err != nil {
		t.Errorf("signature: %v", err)
	}
}

// hooks is the service with a receiver.
type hooks struct {
	*suite
	*receiver
	partnersv1.WebhooksServiceClient
	ctx context.Context //nolint:containedctx // the hospital's client
}

func setupWebhooks(t testing.TB, options ...suitetest.Option) *hooks {
	t.Helper()
	r := newReceiver(t)
	s := start(t, []chassis.Component{teller("referral"), component(r.roots)}, options...)
	return &hooks{
		suite: s, receiver: r, WebhooksServiceClient: partnersv1.NewWebhooksServiceClient(s.Conn(Name)),
		ctx: suitetest.Client(t.Context(), hospital, "referrals.read", "partners.read"),
	}
}

// subscribe subscribes the hospital to referrals.
func (h *hooks) subscribe(t testing.TB, url string) *partnersv1.WebhookSubscription {
	t.Helper()
	return ok(h.CreateWebhookSubscription(h.ctx, &partnersv1.CreateWebhookSubscriptionRequest{WebhookSubscription: &partnersv1.WebhookSubscription{
		DisplayName: "EHR", Url: url, EventTypes: []string{"care.cairn.referral.referral.*"},
	}}))(t)
}

// get returns the subscription as it is.
func (h *hooks) get(t testing.TB, w *partnersv1.WebhookSubscription) *partnersv1.WebhookSubscription {
	t.Helper()
	return ok(h.GetWebhookSubscription(h.ctx, &partnersv1.GetWebhookSubscriptionRequest{Name: w.GetName()}))(t)
}

// becomes waits until the subscription is so.
func (h *hooks) becomes(t testing.TB, w *partnersv1.WebhookSubscription, what string, is func(*partnersv1.WebhookSubscription) bool) *partnersv1.WebhookSubscription {
	t.Helper()
	return within(t, what, func() (*partnersv1.WebhookSubscription, bool) {
		got := h.get(t, w)
		return got, is(got)
	})
}

// within asks until the answer is good, for half a minute at most.
func within[T any](t testing.TB, what string, ask func() (T, bool)) T {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.After(30 * time.Second); ; {
		got, good := ask()
		if good {
			return got
		}
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("never %s: %v", what, got)
		}
	}
}

// ok returns what a call has returned; an error fails the test.
func ok[T any](v T, err error) func(testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func standing(state partnersv1.WebhookSubscription_State) func(*partnersv1.WebhookSubscription) bool {
	return func(w *partnersv1.WebhookSubscription) bool { return w.GetState() == state }
}

// changes tells that a referral was sent and then changed, up to a revision.
func (h *hooks) changes(t testing.TB, referral string, from, to int64) {
	t.Helper()
	for revision := from; revision <= to; revision++ {
		h.tell(t, "referral", "referral.sent", referral, revision, sent(referral))
	}
}
