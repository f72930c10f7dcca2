package packets

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/google/renameio/v2/maybe"

	"vft/correlate/detect"
	"vft/correlate/watch"
)

// learnedState is what a host keeps of its traffic from one run to the next.
type learnedState struct {
	Statistics watch.StatsState `json:"statistics"`
	watch.TransfersState
	Peers *detect.State `json:"peers,omitempty"`
}

// restore lets the statistics go on with what an earlier run had learned.
func (e *Engine) restore(path string) {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	var state learnedState
	if err == nil {
		err = json.Unmarshal(text, &state)
	}
	if err == nil {
		err = e.stats.Restore(state.Statistics)
	}
	if err == nil && e.transfers != nil {
		err = e.transfers.Restore(state.TransfersState)
	}
	if err == nil && state.Peers != nil {
		err = e.detect.Restore(*state.Peers)
	}
	if err != nil {
		e.log.Warn().Msgf("what the statistics had learned is not used, they learn anew: %s", strings.ReplaceAll(fmt.Sprint(err), "\n", "; "))
	}
}

// save keeps what the statistics have learned.
func (e *Engine) save(path string) {
	peers := e.detect.Save()
	state := learnedState{Statistics: e.stats.Save(), Peers: &peers}
	if e.transfers != nil {
		state.TransfersState = e.transfers.Save()
	}
	text, err := json.Marshal(state)
	if err == nil {
		err = maybe.WriteFile(path, append(text, '\n'), 0o600)
	}
	if err != nil {
		e.log.Warn().Err(err).Msg("what the statistics have learned is not kept; the next start learns anew")
	}
}
