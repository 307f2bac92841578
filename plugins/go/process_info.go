// Answers with what the host tells about the process, as JSON.
package export_wasi_http_incoming_handler

import (
	"encoding/json"
	process "wit_component/host_cluster_process"
	http "wit_component/wasi_http_types"
)

func Handle(request *http.IncomingRequest, out *http.ResponseOutparam) {
	request.Drop()
	self := process.Identity()
	versions := map[string]string{}
	for _, pair := range process.Versions() {
		versions[pair.F0] = pair.F1
	}
	text, err := json.MarshalIndent(map[string]any{
		"pid":         self.Pid,
		"ppid":        self.PrimaryPid,
		"worker":      self.Worker.SomeOr(0),
		"generation":  self.Generation,
		"title":       process.Title(),
		"versions":    versions,
		"arch":        process.Arch(),
		"platform":    process.Platform(),
		"execPath":    process.ExecPath(),
		"execArgv":    process.ExecArguments(),
		"argv":        process.Arguments(),
		"uptime":      process.Uptime(),
		"memoryUsage": process.MemoryUsage(),
		"cpuUsage":    process.CpuUsage(),
	}, "", "  ")
	if err != nil {
		panic(err)
	}
	respond(out, "application/json", append(text, '\n'))
}
