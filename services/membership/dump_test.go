package membership

import (
	"bytes"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	membershipv1 "cairn.care/gen/cairn/membership/v1"
	"cairn.care/services/chassis/auth"
)

// TestDumpShowsNoOne plants names, addresses and notes everywhere they can be given and looks for them in a copy of every
// table, as text.
func TestDumpShowsNoOne(t *testing.T) {
	t.Parallel()
	f := setup(t)
	g := f.newGroup(0, false)
	g.Audiences = append(g.Audiences, 3)
	f.tell(g)
	person := func(planted string) *membershipv1.Member {
		m := wholeMember()
		m.LegalName, m.Email, m.Phone, m.ContactNote = planted+" Name", planted+"@example.org", "+1"+planted, planted+" note"
		return m
	}
	created, err := f.CreateMember(f.ctx(), &membershipv1.CreateMemberRequest{Member: person("canary1")})
	if err != nil {
		t.Fatal(err)
	}
	changed := person("canary2")
	changed.Name = created.GetName()
	if _, err := f.UpdateMember(f.ctx(), &membershipv1.UpdateMemberRequest{Member: changed}); err != nil {
		t.Fatal(err)
	}
	m, err := f.CreateMembership(f.ctx(), &membershipv1.CreateMembershipRequest{Group: g.GetGroup(), Member: created.GetName(), OverrideReason: "canary3 override"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.EndMembership(f.ctx(), &membershipv1.EndMembershipRequest{Name: m.GetName(), Reason: 1, Note: "canary4 note"}); err != nil {
		t.Fatal(err)
	}
	if _, err := f.PlaceReferral(f.referral(), &membershipv1.PlaceReferralRequest{
		Referral: newReferral(), Group: g.GetGroup(), OverrideReason: "canary5 override", Subject: &membershipv1.ReferralSubject{
			Member: person("canary6"), Identifiers: []*membershipv1.ReferralSubject_Identifier{mrn("canary7")},
		},
	}); err != nil {
		t.Fatal(err)
	}
	got, err := f.GetMember(f.ctx(), &membershipv1.GetMemberRequest{Name: created.GetName()})
	if err != nil || got.GetLegalName() != "canary2 Name" {
		t.Fatalf("the member is %v, %v", got, err)
	}

	dump := f.dump()
	if !bytes.Contains(dump, []byte(created.GetName()[len("members/"):])) {
		t.Fatal("the dump does not hold the member's row: it is no dump")
	}
	for _, form := range []string{"canary", "63616e617279" /* in hex, as bytea prints */, "Y2FuYXJ5" /* in base64 */} {
		if i := strings.Index(string(dump), form); i >= 0 {
			t.Errorf("%q is in the dump: …%s…", form, dump[max(0, i-80):min(len(dump), i+80)])
		}
	}
}

// dump returns a copy of every table that the service reads, as text.
func (f *fixture) dump() []byte {
	f.t.Helper()
	ctx := auth.System(f.t.Context(), "membership")
	var out bytes.Buffer
	if err := f.db.Tx(ctx, func(tx pgx.Tx) error {
		rows, err := tx.Query(ctx, `SELECT table_name FROM information_schema.tables WHERE table_schema = 'public' AND table_type = 'BASE TABLE' ORDER BY 1`)
		if err != nil {
			return err
		}
		tables, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if err != nil {
			return err
		}
		for _, t := range tables {
			if _, err := tx.Conn().PgConn().CopyTo(ctx, &out, `COPY (SELECT * FROM `+pgx.Identifier{t}.Sanitize()+`) TO STDOUT`); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		f.t.Fatal(err)
	}
	return out.Bytes()
}
