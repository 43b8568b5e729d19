package referral

import (
	"encoding/base64"
	"fmt"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	referralv1 "cairn.care/gen/cairn/referral/v1"
)

// Both sides write, read and see what the other has read; who left a message unread is told by e-mail, without its words.
func TestMessages(t *testing.T) {
	t.Parallel()
	f, box := setupMail(t)
	r := f.send()
	name := r.GetName()
	say := func(text string) *referralv1.CreateReferralMessageRequest {
		return &referralv1.CreateReferralMessageRequest{Parent: name, Message: &referralv1.ReferralMessage{Text: text, Author: "Nurse Ito"}}
	}
	m, err := f.messages.CreateReferralMessage(f.refer, say(" "+written+" "))
	if err != nil {
		t.Fatal(err)
	}
	if m.GetText() != written || m.GetOrganization() != f.hospital || m.GetAuthor() != "Nurse Ito" || !strings.HasPrefix(m.GetName(), name+"/messages/") {
		t.Errorf("got %v", m)
	}
	if _, err := f.messages.CreateReferralMessage(f.refer, say("Thursdays suit her.")); err != nil {
		t.Fatal(err)
	}
	if got := f.get(f.receive, name); got.GetUnreadMessages() != 2 || got.GetEtag() != r.GetEtag() {
		t.Errorf("the owner has %d unread, and etag %s", got.GetUnreadMessages(), got.GetEtag())
	}
	list, err := f.messages.ListReferralMessages(f.receive, &referralv1.ListReferralMessagesRequest{Parent: name, PageSize: 1})
	if err != nil || len(list.GetMessages()) != 1 || list.GetNextPageToken() == "" || !proto.Equal(list.GetMessages()[0], m) {
		t.Fatalf("the owner reads %v, %v", list, err)
	}
	read, err := f.messages.MarkReferralMessagesRead(f.receive, &referralv1.MarkReferralMessagesReadRequest{Parent: name, UpTo: m.GetName()})
	if err != nil || read.GetUnreadMessages() != 1 {
		t.Errorf("after the first is read: %v, %v", read, err)
	}
	list, err = f.messages.ListReferralMessages(f.refer, &referralv1.ListReferralMessagesRequest{Parent: name})
	if err != nil || len(list.GetMessages()) != 2 || list.GetMessages()[0].GetReadTime() == nil || list.GetMessages()[1].GetReadTime() != nil {
		t.Errorf("the referrer reads %v, %v", list, err)
	}
	if _, err := f.messages.CreateReferralMessage(f.receive, say("We have a place.")); err != nil {
		t.Fatal(err)
	}
	if got := f.get(f.refer, name).GetUnreadMessages(); got != 1 {
		t.Errorf("the referrer has %d unread", got)
	}
	if read, err := f.messages.MarkReferralMessagesRead(f.refer, &referralv1.MarkReferralMessagesReadRequest{Parent: name}); err != nil || read.GetUnreadMessages() != 0 {
		t.Errorf("got %v, %v", read, err)
	}
	f.eventually(func() error { return f.queued("hopehouse", 1) })
	f.Clock.Advance(unreadFor + time.Minute)
	for _, mail := range box.Wait(t, "hopehouse@care.test", 1) {
		if strings.Contains(mail.Raw, "Quetzalcanary") || !strings.Contains(mail.Text, name) {
			t.Errorf("the e-mail says %s", mail.Raw)
		}
	}
	if got := box.Mailbox("stanna@care.test"); len(got) != 0 {
		t.Errorf("who has read everything is told of %v", got)
	}
	if n := query[int](f, `SELECT count(*)::int FROM outbox WHERE type = 'care.cairn.referral.message.created.v1'
		AND data::json->>'message' LIKE $1 || '/messages/%' AND data NOT LIKE '%drive%'`, name); n != 3 {
		t.Errorf("%d events tell of messages, want 3", n)
	}
}

// Nobody writes to nobody, about what is not sent, or with a file.
func TestMessagesThatAreRefused(t *testing.T) {
	t.Parallel()
	f := setup(t)
	draft, err := f.CreateReferral(f.refer, &referralv1.CreateReferralRequest{Referral: f.referral(other("d")), Draft: true})
	if err != nil {
		t.Fatal(err)
	}
	open := f.send(other("o"), func(r *referralv1.Referral) { r.RequestedGroup = "" })
	r := f.send()
	blob := base64.StdEncoding.EncodeToString([]byte(strings.Repeat("%PDF-1.7 a long letter ", 40)))
	for _, c := range []struct{ parent, text, want string }{
		{draft.GetName(), "Hello", "FailedPrecondition NOT_SENT"},
		{open.GetName(), "Hello", "FailedPrecondition NO_RECEIVER"},
		{r.GetName(), "   ", "InvalidArgument message.text"},
		{r.GetName(), blob, "InvalidArgument message.text"},
		{r.GetName(), "See data:application/pdf;base64,JVBERi0=", "InvalidArgument message.text"},
		{r.GetName(), "Content-Type: application/pdf\n\nJVBERi0=", "InvalidArgument message.text"},
		{r.GetName(), `{"resourceType": "DocumentReference"}`, "InvalidArgument message.text"},
		{r.GetName(), "-----BEGIN PKCS7-----", "InvalidArgument message.text"},
		{r.GetName(), "Her letter is number 2026-0117/4; https://hie.example/documents/0117 has it for you.", "OK"},
	} {
		_, err := f.messages.CreateReferralMessage(f.refer, &referralv1.CreateReferralMessageRequest{Parent: c.parent, Message: &referralv1.ReferralMessage{Text: c.text}})
		if errText(err) != c.want {
			t.Errorf("%.40q: got %v, want %s", c.text, err, c.want)
		}
		if err != nil && strings.HasSuffix(c.want, "message.text") && c.text != "   " && !strings.Contains(err.Error(), "exchange documents") {
			t.Errorf("%.40q: %v does not say where it goes", c.text, err)
		}
	}
	if _, err := f.messages.CreateReferralMessage(f.strange, &referralv1.CreateReferralMessageRequest{Parent: r.GetName(), Message: &referralv1.ReferralMessage{Text: "Hi"}}); errText(err) != "NotFound NOT_FOUND" {
		t.Errorf("a stranger: got %v", err)
	}
	if _, err := f.messages.CreateReferralMessage(f.platform, &referralv1.CreateReferralMessageRequest{Parent: r.GetName(), Message: &referralv1.ReferralMessage{Text: "Hi"}}); errText(err) != "PermissionDenied WRONG_PARTY" {
		t.Errorf("an internal app: got %v", err)
	}
}

// queued tells whether so many e-mails of messages wait.
func (f *fixture) queued(who string, want int) error {
	if n := query[int](f, `SELECT count(*)::int FROM mail WHERE about LIKE '%/messages %' AND next_time IS NOT NULL`); n != want {
		return fmt.Errorf("%d e-mails wait for %s, want %d", n, who, want)
	}
	return nil
}
