package referral

import (
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5"

	referralv1 "cairn.care/gen/cairn/referral/v1"
	"cairn.care/services/chassis/aip"
)

// BenchmarkCreateReferral makes referrals through the whole chain of interceptors: row, timeline, event, audit.
// Compare with BenchmarkBareInsert, which writes the same row and nothing else.
func BenchmarkCreateReferral(b *testing.B) {
	f := setup(b)
	m := f.referral(func(r *referralv1.Referral) { r.RequestedGroup = "" })
	var made atomic.Int64
	b.SetParallelism(8)
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			r, err := f.CreateReferral(f.refer, &referralv1.CreateReferralRequest{Referral: m})
			if err != nil || r.GetState() != sent {
				b.Errorf("got %v, %v", r, err)
				return
			}
			made.Add(1)
		}
	})
	b.StopTimer()
	if n := query[int64](f, `SELECT count(*) FROM referral_events`); n != made.Load() {
		b.Errorf("%d were made, %d are in the timeline", made.Load(), n)
	}
}

// BenchmarkBareInsert writes a referral's row with pgx alone.
func BenchmarkBareInsert(b *testing.B) {
	f := setup(b)
	created := f.send(func(r *referralv1.Referral) { r.RequestedGroup = "" })
	id, err := aip.ParseName("name", "referrals", created.GetName())
	if err != nil {
		b.Fatal(err)
	}
	var template *row
	if err := f.srv.db.Tx(f.system(), func(tx pgx.Tx) (err error) {
		template, err = queryRow(f.system(), tx, `SELECT `+columns+` FROM referrals r WHERE r.id = @id`, pgx.NamedArgs{"id": id})
		return err
	}); err != nil {
		b.Fatal(err)
	}
	b.SetParallelism(8)
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			r := *template
			r.ID = aip.NewID()
			batch := f.srv.db.Batch(f.system())
			insertReferral(batch, &r)
			if err := f.srv.db.Send(f.system(), batch); err != nil {
				b.Error(err)
				return
			}
		}
	})
}
