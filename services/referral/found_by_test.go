package referral

import (
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"google.golang.org/protobuf/types/known/timestamppb"

	referralv1 "cairn.care/gen/cairn/referral/v1"
	typev1 "cairn.care/gen/cairn/type/v1"
	"cairn.care/services/chassis/archive"
	"cairn.care/services/chassis/auth"
	"cairn.care/services/internal/pgtest"
)

// Every access to what an organization has referred is noted for it, whoever it was, and no other.
func TestAccessesAreNotedByReferrer(t *testing.T) {
	t.Parallel()
	f := setup(t)
	r := f.send()
	f.get(f.receive, r.GetName())
	f.get(f.platform, r.GetName())
	f.accept(r)
	f.search(f.receive, &referralv1.SearchReferralsRequest{})
	const whose = ` FROM audit_log a LEFT JOIN referrals r ON a.resource ^@ ('referrals/' || r.id) LEFT JOIN patients p ON a.resource ^@ ('patients/' || p.id)
		WHERE coalesce(r.org_id, p.org_id) IS NOT NULL`
	if n := query[int](f, `SELECT count(*)::int`+whose); n < 4 {
		t.Errorf("%d accesses in the log, want some", n)
	}
	if n := query[int](f, `SELECT count(*)::int FROM (SELECT coalesce(r.org_id, p.org_id), a.at, a.id`+whose+` EXCEPT SELECT org_id, at, log_id FROM accesses) missing`); n > 0 {
		t.Errorf("%d accesses are not noted", n)
	}
	if n := query[int](f, `SELECT count(*)::int FROM (SELECT org_id, at, log_id FROM accesses EXCEPT SELECT coalesce(r.org_id, p.org_id), a.at, a.id`+whose+`) wrong`); n > 0 {
		t.Errorf("%d are noted that are none", n)
	}
}

// What an older version of Cairn found overdue goes on.
func TestOverdueWithoutAStepGoesOn(t *testing.T) {
	t.Parallel()
	f := setup(t)
	r := f.accept(f.send())
	f.Clock.Set(r.GetDueTime().AsTime().Add(time.Hour))
	query[int](f, `WITH u AS (UPDATE referrals SET overdue_time = due_time, step_time = NULL, step_due = NULL RETURNING 1) SELECT count(*)::int FROM u`)
	if err := f.srv.sweepDue(f.system()); err != nil {
		t.Fatal(err)
	}
	if story := f.actions(r.GetName()); !strings.HasSuffix(story, " TELL_REFERRER") || strings.Contains(story, "MISS") {
		t.Errorf("timeline: %s", story)
	}
}

// What came of a referral that was made while she was being exported is left for the next time.
func TestExportLeavesWhatHasJustBeenMade(t *testing.T) {
	t.Parallel()
	f := setup(t)
	r := f.send()
	f.get(f.receive, r.GetName())
	if _, err := f.messages.CreateReferralMessage(f.refer, &referralv1.CreateReferralMessageRequest{
		Parent: r.GetName(), Message: &referralv1.ReferralMessage{Text: "Hello"},
	}); err != nil {
		t.Fatal(err)
	}
	if _, err := f.RecommendGroups(f.refer, &referralv1.RecommendGroupsRequest{Referral: r.GetName()}); err != nil {
		t.Fatal(err)
	}
	sent := 0
	out := archive.To(service, func(*typev1.ArchiveEntry) error {
		sent++
		return nil
	})
	if err := f.srv.exportProcess(f.system(), out, `SELECT id FROM referrals`, pgx.NamedArgs{}, map[uuid.UUID]*row{}); err != nil || sent > 0 {
		t.Errorf("sent %d, %v", sent, err)
	}
}

// That she must not be contacted is not lost when her record is changed while a referral says so.
func TestDoNotContactIsNotLost(t *testing.T) {
	t.Parallel()
	f := setup(t)
	p := f.send().GetPatient()
	answer := make(chan error, 1)
	if err := f.srv.db.Tx(f.system(), func(tx pgx.Tx) error {
		if _, err := tx.Exec(t.Context(), `UPDATE patients SET revision = revision + 1`); err != nil {
			return err
		}
		go func() {
			_, err := f.CreateReferral(f.refer, &referralv1.CreateReferralRequest{Referral: f.referral(func(r *referralv1.Referral) {
				r.Subject.DoNotContact = true
			})})
			answer <- err
		}()
		return pgtest.Blocks(t.Context(), tx)
	}); err != nil {
		t.Fatal(err)
	}
	if err := <-answer; err != nil {
		t.Fatal(err)
	}
	got, err := referralv1.NewPatientsServiceClient(f.Conn(service)).GetPatient(f.refer, &referralv1.GetPatientRequest{Name: p})
	if err != nil || !got.GetSubject().GetDoNotContact() {
		t.Errorf("got %v, %v", got, err)
	}
}

// A referral of a person who is known says of her what her record says, also if that is changed while the referral is made: the referral
// tells the record nothing new then, and the change of the record did not see the referral.
func TestReferralIsOfThePersonAsSheIsNow(t *testing.T) {
	t.Parallel()
	const now = "+18165550199"
	for how, refer := range map[string]func(f *fixture, before *referralv1.Referral) (*referralv1.Referral, error){
		"named": func(f *fixture, before *referralv1.Referral) (*referralv1.Referral, error) {
			return f.CreateReferral(f.refer, &referralv1.CreateReferralRequest{Referral: f.referral(func(r *referralv1.Referral) {
				r.Patient, r.Subject = before.GetPatient(), nil
			})})
		},
		"kept": func(f *fixture, _ *referralv1.Referral) (*referralv1.Referral, error) {
			return f.CreateReferral(f.refer, &referralv1.CreateReferralRequest{Referral: f.referral(), KnownPatient: referralv1.CreateReferralRequest_KEEP})
		},
		"nothing new": func(f *fixture, _ *referralv1.Referral) (*referralv1.Referral, error) {
			return f.CreateReferral(f.refer, &referralv1.CreateReferralRequest{Referral: f.referral(func(r *referralv1.Referral) {
				r.Subject.Phone = now
			})})
		},
		"again": func(f *fixture, before *referralv1.Referral) (*referralv1.Referral, error) {
			return f.process.ReferAgain(f.refer, &referralv1.ReferAgainRequest{Name: before.GetName()})
		},
	} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			f := setup(t)
			before := f.send(func(r *referralv1.Referral) {
				r.Consent.ExpireTime = timestamppb.New(thursday.Add(90 * day))
				if how == "nothing new" {
					r.Subject.Phone = now
				}
			})
			if _, err := f.CancelReferral(f.refer, &referralv1.CancelReferralRequest{Name: before.GetName()}); err != nil {
				t.Fatal(err)
			}
			var made *referralv1.Referral
			answer := make(chan error, 1)
			if err := f.srv.db.Tx(f.system(), func(tx pgx.Tx) error {
				p, err := queryPatient(t.Context(), tx, `SELECT `+patientColumns+` FROM patients p FOR NO KEY UPDATE`, pgx.NamedArgs{})
				if err != nil {
					return err
				}
				is, err := f.srv.person(p)
				if err != nil {
					return err
				}
				is.DoNotContact, is.Phone = true, now
				if err := f.srv.setPerson(p, is); err != nil {
					return err
				}
				p.Revision++
				b := new(pgx.Batch)
				f.srv.updatePatient(b, p)
				if err := sendBatch(t.Context(), tx, b); err != nil {
					return err
				}
				go func() {
					var err error
					made, err = refer(f, before)
					answer <- err
				}()
				return pgtest.Blocks(t.Context(), tx)
			}); err != nil {
				t.Fatal(err)
			}
			if err := <-answer; err != nil {
				t.Fatal(err)
			}
			if got := f.get(f.refer, made.GetName()); got.GetPatient() != before.GetPatient() || !got.GetSubject().GetDoNotContact() || got.GetSubject().GetPhone() != now {
				t.Errorf("got %v of %s", got.GetSubject(), got.GetPatient())
			}
		})
	}
}

// A search without a wish as to its order walks along an index.
func TestSearchWalksAlongAnIndex(t *testing.T) {
	t.Parallel()
	f := setup(t)
	org, err := uuid.Parse(strings.TrimPrefix(f.hospital, "organizations/"))
	if err != nil {
		t.Fatal(err)
	}
	for _, tenant := range []auth.Tenant{{Org: org}, {All: true}} {
		order, err := searchOrder("")
		if err != nil {
			t.Fatal(err)
		}
		plan := f.plan(order.sql(tenant, "true", false), order.args(pgx.NamedArgs{"org": org}, searchCursor{}, 20))
		if strings.Contains(plan, "Sort\n") || strings.Contains(plan, "Seq Scan") {
			t.Errorf("as %v:\n%s", tenant, plan)
		}
	}
	for _, sql := range []string{`r.org_id = @org AND r.placer_number = ANY(@numbers)`, `r.owner_org_id = @org AND r.filler_number = ANY(@numbers)`} {
		plan := f.plan(`SELECT r.id FROM referrals r WHERE `+sql, pgx.NamedArgs{"org": org, "numbers": []string{"P-1"}})
		if !strings.Contains(plan, "referrals_placer") && !strings.Contains(plan, "referrals_filler") {
			t.Errorf("%s:\n%s", sql, plan)
		}
	}
}

// plan is how PostgreSQL would run a statement over large tables.
func (f *fixture) plan(sql string, args pgx.NamedArgs) string {
	f.t.Helper()
	var lines []string
	if err := f.srv.db.Tx(f.system(), func(tx pgx.Tx) error {
		if _, err := tx.Exec(f.t.Context(), `SET LOCAL enable_seqscan = off`); err != nil {
			return err
		}
		rows, err := tx.Query(f.t.Context(), `EXPLAIN (COSTS OFF) `+sql, args)
		if err != nil {
			return err
		}
		lines, err = pgx.CollectRows(rows, pgx.RowTo[string])
		return err
	}); err != nil {
		f.t.Fatal(err)
	}
	return strings.Join(lines, "\n")
}
