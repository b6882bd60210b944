// Elements through a channel between two goroutines, as peers.cpp measures ours.
package main

import (
	"fmt"
	"os"
	"runtime"
	"sort"
	"strings"
	"syscall"
	"time"
)

const name = "Go, two goroutines, channel"

const elements, capacity = 1000000, 256

// Of the process, in user and kernel mode.
func cpu() time.Duration {
	var used syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &used) != nil {
		panic("getrusage")
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}

// ns an element, by the wall and of the processor.
func round() (float64, float64) {
	channel := make(chan uint64, capacity)
	begun, cpuBegun := time.Now(), cpu()
	go func() {
		for n := uint64(0); n != elements; n++ {
			channel <- n
		}
		close(channel)
	}()
	received := uint64(0)
	for element := range channel {
		if element == received {
			received++
		}
	}
	if received != elements {
		panic("elements were lost")
	}
	wall := float64(time.Since(begun).Nanoseconds()) / elements
	return wall, float64((cpu() - cpuBegun).Nanoseconds()) / elements
}

func main() {
	runtime.GOMAXPROCS(2)
	rounds, part := 15, ""
	for _, argument := range os.Args[1:] {
		if argument == "--test" {
			rounds = 1
		} else {
			part = argument
		}
	}
	if !strings.Contains(name, part) {
		return
	}
	walls, cpus := make([]float64, rounds), make([]float64, rounds)
	for i := range walls {
		walls[i], cpus[i] = round()
	}
	sort.Float64s(walls)
	sort.Float64s(cpus)
	where := ""
	if runtime.NumCPU() == 1 {
		where = ", one processor"
	}
	fmt.Printf("%s%s | %.0f | %.0f\n", name, where, walls[rounds/2], cpus[rounds/2])
}
