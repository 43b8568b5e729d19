package groups

import (
	"testing"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	"cairn.care/services/chassis"
	"cairn.care/services/chassis/aip"
	"cairn.care/services/internal/suitetest"
)

// BenchmarkGetGroup reads one group: its row alone, the handler's way, and through the channel with every interceptor.
func BenchmarkGetGroup(b *testing.B) {
	s := suitetest.Start(b, []chassis.Component{peer("partners"), Component()})
	ctx := suitetest.Client(b.Context(), ours, "groups.read", "groups.write")
	client := groupsv1.NewGroupsServiceClient(s.Conn("groups"))
	g, err := client.CreateGroup(ctx, &groupsv1.CreateGroupRequest{Group: listing("Bench")})
	if err == nil {
		markListed(b, s.DBs["groups"], g.GetName())
		g, err = client.PublishGroup(ctx, &groupsv1.PublishGroupRequest{Name: g.GetName()})
	}
	if err != nil {
		b.Fatal(err)
	}
	db := s.DBs["groups"]
	handler := &server{db: db, clock: s.Clock}
	id, err := aip.ParseName("name", "groups", g.GetName())
	if err != nil {
		b.Fatal(err)
	}
	inside := as(b.Context(), ours)
	check := func(b *testing.B, revision string, err error) {
		if err != nil || revision != g.GetEtag() {
			b.Fatalf("read %s, %v; want %s", revision, err, g.GetEtag())
		}
	}
	for name, read := range map[string]func() (string, error){
		"pgx": func() (string, error) {
			var r groupRow
			err := r.scan(db.QueryRow(inside, selectGroup, id, id, false))
			return aip.ETag(r.Revision), err
		},
		"handler": func() (string, error) {
			got, err := handler.GetGroup(inside, &groupsv1.GetGroupRequest{Name: g.GetName()})
			return got.GetEtag(), err
		},
		"channel": func() (string, error) {
			got, err := client.GetGroup(ctx, &groupsv1.GetGroupRequest{Name: g.GetName()})
			return got.GetEtag(), err
		},
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				etag, err := read()
				check(b, etag, err)
			}
		})
	}
}
