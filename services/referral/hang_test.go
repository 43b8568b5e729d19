package referral

import (
	"context"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	referralv1 "cairn.care/gen/cairn/referral/v1"
	"cairn.care/services/internal/smtptest"
	"cairn.care/services/internal/suitetest"
)

// hanging is a connection to a peer that takes every call and answers none.
func hanging(t *testing.T) *grpc.ClientConn {
	t.Helper()
	lis, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	peer := grpc.NewServer(grpc.UnknownServiceHandler(func(_ any, call grpc.ServerStream) error {
		<-call.Context().Done()
		return call.Context().Err()
	}))
	served := make(chan error, 1)
	go func() { served <- peer.Serve(lis) }()
	conn, err := grpc.NewClient(lis.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := conn.Close(); err != nil {
			t.Error(err)
		}
		peer.Stop()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	return conn
}

// While the directory hangs a referral cannot be passed on. It is put off, and meanwhile whoever has to act on another is reminded, and
// a hospital is told that somebody may harm herself.
func TestAPeerThatHangsKeepsNobodyWaiting(t *testing.T) {
	t.Parallel()
	conn, box := hanging(t), smtptest.Start(t)
	f := setupWith(t, []suitetest.Option{suitetest.Mail(box.Address)}, func(s *server) { s.directory = groupsv1.NewDirectoryServiceClient(conn) })
	unanswered := f.send(func(r *referralv1.Referral) { r.OwnerOrganization = f.nonprofit })
	due := thursday.Add(5 * day)
	f.at(due)
	f.Clock.Set(due.Add(-time.Hour))
	fine := f.send(other("b"))
	passed := due.Add(day)
	f.Clock.Set(passed)

	endangered := f.send(other("c"), func(r *referralv1.Referral) { r.SelfHarmRisk = true })
	f.eventually(func() error { // by its own job
		for _, m := range box.Mailbox("stanna@care.test") {
			if m.Subject == "A referral of yours needs attention now" && strings.Contains(m.Text, endangered.GetName()) {
				return nil
			}
		}
		return fmt.Errorf("stanna is not told of %s", endangered.GetName())
	})

	f.Clock.Set(passed.Add(3 * day)) // when the fine one is to be reminded of
	short, cancel := context.WithTimeout(f.system(), 3*time.Second)
	defer cancel()
	if err := f.srv.sweepDue(short); err == nil || !strings.Contains(err.Error(), unanswered.GetName()) {
		t.Errorf("got %v, want an error that names %s", err, unanswered.GetName())
	}
	if got := f.actions(fine.GetName()); got != "SEND REMIND" {
		t.Errorf("the other one: %s", got)
	}
	id := strings.TrimPrefix(unanswered.GetName(), "referrals/")
	if at := query[time.Time](f, `SELECT step_time FROM referrals WHERE id = $1`, id); !at.After(f.Clock.Now()) {
		t.Errorf("what could not be passed on is tried again at %v, at once", at)
	}
}
