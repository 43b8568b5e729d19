package referral

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"
	"pgregory.net/rapid"

	partnersv1 "cairn.care/gen/cairn/partners/v1"
	referralv1 "cairn.care/gen/cairn/referral/v1"
	schedulingv1 "cairn.care/gen/cairn/scheduling/v1"
	"cairn.care/services/chassis/auth"
	"cairn.care/services/internal/suitetest"
)

func TestOwnerSeesWhatConsentCovers(t *testing.T) {
	t.Parallel()
	f := setup(t)
	for i, c := range []struct {
		items []referralv1.Referral_Consent_Item
		want  func(whole *referralv1.Referral) *referralv1.Referral_Subject
	}{
		{nil, func(*referralv1.Referral) *referralv1.Referral_Subject { return nil }},
		{[]referralv1.Referral_Consent_Item{referralv1.Referral_Consent_NAME}, func(*referralv1.Referral) *referralv1.Referral_Subject {
			return &referralv1.Referral_Subject{GivenName: givenName, FamilyName: familyName}
		}},
		{[]referralv1.Referral_Consent_Item{referralv1.Referral_Consent_CONTACT}, func(r *referralv1.Referral) *referralv1.Referral_Subject {
			s := r.GetSubject()
			return &referralv1.Referral_Subject{Phone: s.GetPhone(), Email: s.GetEmail(), Address: s.GetAddress(), ContactPreference: s.GetContactPreference()}
		}},
		{[]referralv1.Referral_Consent_Item{referralv1.Referral_Consent_BIRTH_DATE, referralv1.Referral_Consent_IDENTIFIERS}, func(r *referralv1.Referral) *referralv1.Referral_Subject {
			return &referralv1.Referral_Subject{BirthDate: r.GetSubject().GetBirthDate(), Identifiers: r.GetSubject().GetIdentifiers()}
		}},
	} {
		r := f.send(func(r *referralv1.Referral) { r.Consent.Share = c.items })
		for who, ctx := range map[string]context.Context{"owner": f.receive, "internal app": f.platform} {
			got := f.get(ctx, r.GetName())
			if !proto.Equal(got.GetSubject(), c.want(r)) {
				t.Errorf("%d: %s sees %v, want %v", i, who, got.GetSubject(), c.want(r))
			}
			if got.Distress != nil || len(got.GetReasonCodes()) > 0 {
				t.Errorf("%d: %s sees clinical data %v", i, who, got)
			}
			if !proto.Equal(got.GetNeeds(), r.GetNeeds()) {
				t.Errorf("%d: %s sees needs %v, want %v", i, who, got.GetNeeds(), r.GetNeeds())
			}
		}
	}

	r := f.send(func(r *referralv1.Referral) { r.Subject.DoNotContact = true })
	if got := f.get(f.receive, r.GetName()).GetSubject(); got.GetPhone()+got.GetEmail() != "" || got.GetAddress() != nil || !got.GetDoNotContact() || got.GetGivenName() == "" {
		t.Errorf("do not contact: the owner sees %v", got)
	}
	r = f.send(other("b"), func(r *referralv1.Referral) { r.Consent.ExpireTime = timestamppb.New(thursday.Add(day)) })
	f.Clock.Advance(day)
	if got := f.get(f.receive, r.GetName()); got.GetSubject() != nil || got.Distress != nil || got.GetNeeds() != nil {
		t.Errorf("after consent ended: the owner sees %v", got)
	}
	if got := f.get(f.refer, r.GetName()); got.GetSubject().GetGivenName() != "b" {
		t.Errorf("the referrer sees %v", got)
	}
	reads := query[int](f, `SELECT count(*)::int FROM audit_log WHERE resource = $1 AND access = 'READ' AND organization = $2`, r.GetName(), f.nonprofit)
	if reads != 1 {
		t.Errorf("%d disclosures to the owner are recorded, want 1", reads)
	}
}

// Random calls of a stranger never reveal that anything of others exists, with row-level security alone as well.
func TestTenantsAreApart(t *testing.T) {
	t.Parallel()
	f := setup(t)
	names := []string{
		f.send().GetName(), f.accept(f.send(other("b"))).GetName(),
		f.send(other("c"), func(r *referralv1.Referral) { r.RequestedGroup = "" }).GetName(),
		"referrals/" + uuid.NewString(),
	}
	stranger, _ := f.organization(partnersv1.Organization_HOSPITAL, "Third")
	ctx := suitetest.Client(t.Context(), stranger, "referrals.read", "referrals.write")
	rapid.Check(t, func(rt *rapid.T) {
		name := rapid.SampledFrom(names).Draw(rt, "name")
		var err error
		switch rapid.IntRange(0, 8).Draw(rt, "call") {
		case 0:
			_, err = f.GetReferral(ctx, &referralv1.GetReferralRequest{Name: name})
		case 1:
			_, err = f.ListReferralEvents(ctx, &referralv1.ListReferralEventsRequest{Parent: name})
		case 2:
			_, err = f.CancelReferral(ctx, &referralv1.CancelReferralRequest{Name: name})
		case 3:
			_, err = f.AcceptReferral(ctx, &referralv1.AcceptReferralRequest{Name: name, Group: f.group})
		case 4:
			_, err = f.RejectReferral(ctx, &referralv1.RejectReferralRequest{Name: name, Reason: referralv1.Referral_DUPLICATE})
		case 5:
			_, err = f.UpdateReferral(ctx, &referralv1.UpdateReferralRequest{Referral: &referralv1.Referral{Name: name, Author: "x"}})
		case 6:
			_, err = f.RecommendGroups(ctx, &referralv1.RecommendGroupsRequest{Referral: name})
		case 7:
			_, err = f.CompleteReferral(ctx, &referralv1.CompleteReferralRequest{Name: name, Outcome: &referralv1.Referral_Outcome{}})
		case 8:
			resp, err := f.ListReferrals(ctx, &referralv1.ListReferralsRequest{})
			if err != nil || len(resp.GetReferrals()) > 0 {
				rt.Fatalf("got %v, %v", resp, err)
			}
			return
		}
		if got := errText(err); got != "NotFound NOT_FOUND" || !strings.Contains(err.Error(), name) {
			rt.Fatalf("%s: got %v", name, err)
		}
	})

	if n := query[int](f, `SELECT count(*)::int FROM audit_log WHERE organization = $1 AND resource <> 'referrals/-'`, stranger); n != 0 {
		t.Errorf("%d disclosures to the stranger are recorded, want none", n)
	}
	tenant := auth.WithTenant(t.Context(), auth.Tenant{Org: uuid.MustParse(strings.TrimPrefix(stranger, "organizations/"))})
	for _, table := range []string{"referrals", "referral_events", "patients", "patient_identifiers", "referral_versions", "placements", "attendances", "session_changes"} {
		if n := count(f, tenant, table); n != 0 {
			t.Errorf("without its predicate a query of %s shows the stranger %d rows", table, n)
		}
	}
	for who, org := range map[string]string{"referrer": f.hospital, "owner": f.nonprofit} {
		tenant := auth.WithTenant(t.Context(), auth.Tenant{Org: uuid.MustParse(strings.TrimPrefix(org, "organizations/"))})
		want := map[string]int{"referrer": 3, "owner": 2}[who]
		if n := count(f, tenant, "referrals"); n != want {
			t.Errorf("row-level security shows the %s %d referrals, want %d", who, n, want)
		}
	}
	if err := f.srv.db.Tx(f.system(), func(tx pgx.Tx) error {
		_, err := tx.Exec(f.system(), `UPDATE referral_events SET note = NULL`)
		return err
	}); err == nil {
		t.Error("the timeline can be changed")
	}
}

// A draft names who is to get it; until it is sent, and if it never is, that organization learns nothing of it.
func TestWithdrawnDraftIsNeverSeen(t *testing.T) {
	t.Parallel()
	f := setup(t)
	r, err := f.CreateReferral(f.refer, &referralv1.CreateReferralRequest{Draft: true, Referral: f.referral(func(r *referralv1.Referral) {
		r.RequestedGroup, r.OwnerOrganization = "", f.nonprofit
		r.Consent.ExpireTime = timestamppb.New(thursday.Add(day))
	})})
	if err != nil {
		t.Fatal(err)
	}
	if r, err = f.CancelReferral(f.refer, &referralv1.CancelReferralRequest{Name: r.GetName()}); err != nil || r.GetState() != cancelled {
		t.Fatalf("withdrawn: %v, %v", r.GetState(), err)
	}
	if _, err := f.GetReferral(f.receive, &referralv1.GetReferralRequest{Name: r.GetName()}); errText(err) != "NotFound NOT_FOUND" {
		t.Errorf("the organization that was to get it gets %v", err)
	}
	if _, err := f.ListReferralEvents(f.receive, &referralv1.ListReferralEventsRequest{Parent: r.GetName()}); errText(err) != "NotFound NOT_FOUND" {
		t.Errorf("the organization that was to get it sees events: %v", err)
	}
	if resp, err := f.ListReferrals(f.receive, &referralv1.ListReferralsRequest{}); err != nil || len(resp.GetReferrals()) > 0 {
		t.Errorf("the organization that was to get it lists %v, %v", resp, err)
	}
	tenant := auth.WithTenant(t.Context(), auth.Tenant{Org: uuid.MustParse(strings.TrimPrefix(f.nonprofit, "organizations/"))})
	for _, table := range []string{"referrals", "referral_events"} {
		if n := count(f, tenant, table); n != 0 {
			t.Errorf("row-level security shows it %d rows of %s", n, table)
		}
	}
}

func count(f *fixture, ctx context.Context, table string) int {
	f.t.Helper()
	var n int
	b := f.srv.db.Batch(ctx)
	b.Queue(fmt.Sprintf(`SELECT count(*)::int FROM %s`, pgx.Identifier{table}.Sanitize())).QueryRow(func(row pgx.Row) error { return row.Scan(&n) })
	if err := f.srv.db.Send(ctx, b); err != nil {
		f.t.Fatal(err)
	}
	return n
}

// What names or reaches a person is in no table and in no event, of any service.
func TestPersonalDataAppearNowhere(t *testing.T) {
	t.Parallel()
	f := setup(t)
	f.weekly(f.group)
	r := f.send()
	twice(f, func() (*referralv1.Referral, error) {
		return f.AcceptReferral(f.receive, &referralv1.AcceptReferralRequest{Name: r.GetName(), Note: written, RequestId: "3fa85f64-5717-4562-b3fc-2c963f66afa6"})
	})
	r = f.get(f.receive, r.GetName())
	f.acknowledge(r.GetMembership())
	f.await(r.GetName(), scheduled)
	f.Clock.Set(f.sessions(f.group)[0].GetStartTime().AsTime().Add(time.Hour))
	f.attend(f.sessions(f.group)[0].GetName(), r.GetMembership(), schedulingv1.Attendance_PRESENT)
	f.await(r.GetName(), engaged)
	if _, err := f.CompleteReferral(f.receive, &referralv1.CompleteReferralRequest{Name: r.GetName(), Note: written, Outcome: &referralv1.Referral_Outcome{Note: written}}); err != nil {
		t.Fatal(err)
	}
	f.send(other("b"), func(r *referralv1.Referral) { r.Subject.FamilyName, r.RequestedGroup = familyName, "" })
	if _, err := f.RejectReferral(f.receive, &referralv1.RejectReferralRequest{Name: f.send(other("c")).GetName(), Reason: referralv1.Referral_OTHER, Note: written}); err != nil {
		t.Fatal(err)
	}

	dump := f.dump()
	for _, secret := range []string{givenName, familyName, mrn, phone, "8165550177", address, street} {
		for table, text := range dump {
			if bytes.Contains(bytes.ToLower(text), []byte(strings.ToLower(secret))) {
				t.Errorf("%q is in %s", secret, table)
			}
		}
	}
	if len(dump["referral.referral_events"]) == 0 || len(dump["referral.outbox"]) == 0 || !bytes.Contains(dump["referral.referrals"], []byte("breast")) {
		t.Error("the dump is empty: it would find nothing")
	}
}

// dump returns every row of every table of every service, as text and with bytea as it is.
func (f *fixture) dump() map[string][]byte {
	f.t.Helper()
	all := map[string][]byte{}
	for name, db := range f.DBs {
		ctx := auth.System(f.t.Context(), name)
		if err := db.Tx(ctx, func(tx pgx.Tx) error {
			rows, err := tx.Query(ctx, `SELECT relname::text FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' AND CASE relkind WHEN 'r' THEN has_table_privilege(oid, 'SELECT') END`)
			if err != nil {
				return err
			}
			tables, err := pgx.CollectRows(rows, pgx.RowTo[string])
			if err != nil {
				return err
			}
			for _, table := range tables {
				rows, err := tx.Query(ctx, `SELECT * FROM `+pgx.Identifier{table}.Sanitize())
				if err != nil {
					return err
				}
				var buf bytes.Buffer
				for rows.Next() {
					for _, v := range rows.RawValues() {
						buf.Write(v)
						buf.WriteByte('\n')
					}
				}
				if rows.Err() != nil {
					return rows.Err()
				}
				all[name+"."+table] = buf.Bytes()
			}
			return nil
		}); err != nil {
			f.t.Fatalf("dump %s: %v", name, err)
		}
	}
	return all
}
