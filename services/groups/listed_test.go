package groups

import (
	"testing"

	"github.com/jackc/pgx/v5"
	"google.golang.org/grpc/codes"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	"cairn.care/services/chassis/auth"
	"cairn.care/services/chassis/pg"
)

// markListed does to a group what a feed does that brings one.
func markListed(t testing.TB, db *pg.DB, name string) {
	t.Helper()
	if err := db.Tx(auth.System(t.Context(), "groups"), func(tx pgx.Tx) error {
		_, err := tx.Exec(t.Context(), `UPDATE groups SET listed = true WHERE 'groups/' || id = $1`, name)
		return err
	}); err != nil {
		t.Fatal(err)
	}
}

// Only a feed vouches for who leads a group: that a client names another system does not.
func TestListed(t *testing.T) {
	t.Parallel()
	s := setup(t)
	g := must[group](t)(s.CreateGroup(s.owner, &groupsv1.CreateGroupRequest{Group: listing("One")}))
	_, err := s.PublishGroup(s.owner, &groupsv1.PublishGroupRequest{Name: g.GetName()})
	refused(t, err, codes.FailedPrecondition, "LIVED_EXPERIENCE_MISSING")
	markListed(t, s.DBs["groups"], g.GetName())
	must[group](t)(s.PublishGroup(s.owner, &groupsv1.PublishGroupRequest{Name: g.GetName()}))
	must[group](t)(s.UpdateGroup(s.owner, &groupsv1.UpdateGroupRequest{Group: &groupsv1.Group{Name: g.GetName(), Title: "Two"}}))
}
