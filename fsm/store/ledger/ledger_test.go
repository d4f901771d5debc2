package ledger

import (
	"fmt"
	"maps"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// TestItNamesExactlyWhatDiffers holds a ledger with little room against two maps.
func TestItNamesExactlyWhatDiffers(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		sides := rapid.MapOf(rapid.StringN(0, 3, 3), rapid.Int64Range(0, 3))
		stored, due := sides.Draw(t, "stored"), sides.Draw(t, "due")
		if rapid.Bool().Draw(t, "equal") {
			due = maps.Clone(stored)
		}
		want := map[string]Entry{}
		for key, n := range stored {
			want[key] = Entry{n, due[key]}
		}
		for key, n := range due {
			want[key] = Entry{stored[key], n}
		}
		maps.DeleteFunc(want, func(_ string, e Entry) bool { return e.Stored == e.Due })
		l := New(rapid.IntRange(1, 3).Draw(t, "room"))
		pass := func() {
			for key, n := range stored {
				l.Stored([]byte(key), n)
			}
			for key, n := range due {
				for range n {
					l.Due([]byte(key), 1)
				}
			}
		}
		got := map[string]Entry{}
		pass()
		for l.Next() {
			pass()
			l.Differences(func(key []byte, e Entry) { got[string(key)] = e })
		}
		if diff := cmp.Diff(want, got); diff != "" || l.Unseen() != 0 {
			t.Fatalf("differences (-want +got):\n%s\n%d groups unseen", diff, l.Unseen())
		}
	})
}

func TestAPassKeepsAboutAsManyKeysAsThereIsRoomFor(t *testing.T) {
	const keys, room = 400_000, 1000
	l := New(room)
	pass := func() {
		for i := range keys {
			l.Stored(fmt.Append(nil, i), 1)
		}
	}
	pass()
	if !l.Next() {
		t.Fatal("nothing differs")
	}
	pass()
	if n := len(l.kept); n == 0 || n > 2*room {
		t.Errorf("a pass keeps %d keys, there is room for %d", n, room)
	}
	if l.Unseen() == 0 {
		t.Error("one pass has seen everything")
	}
}
