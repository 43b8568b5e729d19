package membership

import (
	"testing"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	membershipv1 "cairn.care/gen/cairn/membership/v1"
	"cairn.care/services/chassis/aip"
	"cairn.care/services/chassis/auth"
)

// TestRowLevelSecurityAlone asks for everything with no predicate at all: each tenant gets her own rows, nobody none.
func TestRowLevelSecurityAlone(t *testing.T) {
	t.Parallel()
	f := setup(t)
	if _, err := f.place(f.newGroup(0, false), newReferral(), mrn("1")); err != nil {
		t.Fatal(err)
	}
	for _, table := range []string{"members", "member_identifiers", "group_seats", "memberships", "referral_placements"} {
		for who, tc := range map[string]struct {
			tenant auth.Tenant
			want   int
		}{
			"the owner":      {auth.Tenant{Org: f.org}, 1},
			"another tenant": {auth.Tenant{Org: aip.NewID()}, 0},
			"no tenant":      {auth.Tenant{}, 0},
			"the system":     {auth.Tenant{All: true}, 1},
		} {
			var seen int
			ctx := auth.WithTenant(t.Context(), tc.tenant)
			b := f.db.Batch(ctx)
			b.Queue(`SELECT count(*) FROM ` + table).QueryRow(func(row pgx.Row) error { return row.Scan(&seen) })
			if err := f.db.Send(ctx, b); err != nil {
				t.Fatal(err)
			}
			if seen != tc.want {
				t.Errorf("%s: %s sees %d rows, want %d", table, who, seen, tc.want)
			}
		}
		if err := f.db.Tx(f.as(aip.NewID()), func(tx pgx.Tx) error {
			_, err := tx.Exec(t.Context(), `UPDATE `+table+` SET org_id = @org`, pgx.NamedArgs{"org": uuid.Nil})
			return err
		}); err != nil {
			t.Fatal(err)
		}
	}
	list, err := f.ListMemberships(f.ctx(), &membershipv1.ListMembershipsRequest{})
	if err != nil || len(list.GetMemberships()) != 1 {
		t.Errorf("a foreign update without a predicate reached the row: %v, %v", list, err)
	}
}

// TestReferralCrowdIsServedInOrder has a waitlist move up one by one as those before it leave.
func TestReferralCrowdIsServedInOrder(t *testing.T) {
	t.Parallel()
	f := setup(t)
	g := f.newGroup(3, true)
	for range 9 {
		if _, err := f.place(g, newReferral()); err != nil {
			t.Fatal(err)
		}
	}
	list, err := f.ListMemberships(f.ctx(), &membershipv1.ListMembershipsRequest{Group: g.GetGroup()})
	if err != nil {
		t.Fatal(err)
	}
	all := list.GetMemberships() // newest first
	for i := len(all) - 1; i >= 3; i-- {
		oldest := all[i]
		if got := f.get(oldest.GetName()).GetState(); got != approved && got != offered {
			t.Fatalf("membership %d of %d is %v before it was its turn to go", len(all)-i, len(all), got)
		}
		if _, err := f.EndMembership(f.ctx(), &membershipv1.EndMembershipRequest{Name: oldest.GetName(), Reason: 1}); err != nil {
			t.Fatal(err)
		}
		if got := f.get(all[i-3].GetName()).GetState(); got != offered {
			t.Errorf("after %d went, membership %d is %v, want a seat held for her", len(all)-i, len(all)-i+3, got)
		}
	}
}
