package referral

import (
	"testing"

	"pgregory.net/rapid"
)

var allShown = [axes]bool{true, true, true, true}

func TestSmallCountsAreHiddenAndCannotBeWorkedOut(t *testing.T) {
	t.Parallel()
	c := newCube(allShown)
	c.add(cell{0, 0, 0, 0}, 3)
	c.add(cell{1, 0, 0, 0}, 7)
	c.add(cell{2, 0, 0, 0}, 20)
	c.protect()
	all := func(value int32) cell { return cell{value, sum, sum, sum} }
	if !c.hidden[all(0)] || !c.hidden[all(1)] || c.hidden[all(2)] || c.hidden[all(sum)] {
		t.Errorf("hidden are %v, want 3, and 7 beside it", c.hidden)
	}
	if !c.hidden[cell{1, 0, 0, 0}] || !c.hidden[cell{1, sum, 0, sum}] {
		t.Errorf("what is hidden in all quarters is shown in the only one there is: %v", c.hidden)
	}
}

func TestTwoHiddenOnesAreNotOneEach(t *testing.T) {
	t.Parallel()
	c := newCube(allShown)
	c.add(cell{0, 0, 0, 0}, 1)
	c.add(cell{1, 0, 0, 0}, 1)
	c.add(cell{2, 0, 0, 0}, 9)
	c.add(cell{3, 0, 0, 0}, 30)
	c.protect()
	if !c.hidden[cell{2, 0, 0, 0}] || c.hidden[cell{3, 0, 0, 0}] {
		t.Errorf("11 less 9 tells that two are one each: %v", c.hidden)
	}
}

// What is shown never tells what is hidden: no line has one unknown, nor unknown parts that are few together.
func TestNothingHiddenIsToldByAnyTotal(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		one, other := newCube(allShown), newCube(allShown)
		for range rapid.IntRange(0, 60).Draw(rt, "referrals") {
			at := cell{rapid.Int32Range(0, 4).Draw(rt, "value"), rapid.Int32Range(0, 3).Draw(rt, "partner"), rapid.Int32Range(0, 3).Draw(rt, "quarter"), rapid.Int32Range(0, 2).Draw(rt, "stage")}
			n := rapid.Int64Range(1, 12).Draw(rt, "times")
			one.add(at, n)
			at[byValue] = rapid.Int32Range(0, 2).Draw(rt, "other value")
			other.add(at, n)
		}
		protectAll(one, other)
		for _, c := range []*cube{one, other} {
			for at, n := range c.counts {
				if n < fewest && !c.hidden[at] {
					rt.Fatalf("%d is shown at %v", n, at)
				}
			}
			for at := range c.counts {
				for axis := range axes {
					var hiddenParts []int64
					total := at
					total[axis] = sum
					for v := range int32(5) {
						part := at
						if part[axis] = v; c.hidden[part] {
							hiddenParts = append(hiddenParts, c.counts[part])
						}
					}
					together := int64(0)
					for _, n := range hiddenParts {
						together += n
					}
					switch {
					case c.hidden[total] && len(hiddenParts) == 0:
						rt.Fatalf("the parts of %v tell it", total)
					case !c.hidden[total] && len(hiddenParts) > 0 && (len(hiddenParts) == 1 || together < fewest):
						rt.Fatalf("%v tells its parts %v", total, hiddenParts)
					}
				}
			}
		}
		for at := range one.counts {
			if at[byValue] == sum && one.hidden[at] != other.hidden[at] {
				rt.Fatalf("%v is hidden in one table and shown in another", at)
			}
		}
	})
}
