"""Which process this is: variables of torchrun and of Slurm's srun."""

import pytest

from abawkit.errors import ConfigError
from abawkit.system.launcher import Launch, find_first_node, read_launch

STEP = {
    "SLURM_JOB_ID": "4711",
    "SLURM_STEP_ID": "0",
    "SLURM_STEP_NUM_TASKS": "8",
    "SLURM_STEP_NUM_NODES": "2",
    "SLURM_STEP_NODELIST": "gpu[07-09,12],login1",
    "SLURM_PROCID": "5",
    "SLURM_LOCALID": "1",
}


def test_without_variables_a_process_is_alone() -> None:
    assert read_launch({}) == Launch()
    assert read_launch({}).is_main
    assert read_launch({}).command == ""


def test_a_task_of_srun_is_one_of_its_step() -> None:
    launch = read_launch({**STEP, "SLURM_RESTART_COUNT": "2"})
    assert (launch.rank, launch.world_size, launch.local_rank, launch.restarts) == (5, 8, 1, 2)
    assert launch.job == "Slurm job 4711"  # the same after a requeue
    assert launch.rendezvous == f"tcp://gpu07:{12_000 + 4711 * 7 % 20_000}"
    assert not launch.is_main
    assert launch.command == "srun --ntasks 8 "


def test_torchrun_inside_of_a_step_of_srun_comes_first() -> None:
    variables = {"WORLD_SIZE": "2", "RANK": "1", "LOCAL_RANK": "1", "TORCHELASTIC_RESTART_COUNT": "3"}
    launch = read_launch({**STEP, **variables})
    assert launch == Launch(1, 2, 1, 3, "", "env://")
    assert launch.command == "torchrun --nproc-per-node 2 -m "
    assert read_launch({**STEP, "WORLD_SIZE": "1", "RANK": "0"}) == Launch()


def test_a_batch_script_of_several_tasks_is_alone_before_it_calls_srun() -> None:
    assert read_launch({"SLURM_JOB_ID": "4711", "SLURM_NTASKS": "8", "SLURM_PROCID": "0"}) == Launch()


def test_steps_and_jobs_on_one_node_meet_at_different_ports() -> None:
    here = {**STEP, "SLURM_STEP_NUM_NODES": "1"}
    ports = {
        read_launch({**here, "SLURM_JOB_ID": str(job), "SLURM_STEP_ID": str(step)}).rendezvous
        for job in range(4700, 4720)
        for step in range(7)
    }
    assert len(ports) == 20 * 7
    assert all(port.startswith("tcp://127.0.0.1:") for port in ports)
    assert all(12_000 <= int(port.rpartition(":")[2]) < 32_768 for port in ports)


def test_address_and_port_can_be_given() -> None:
    launch = read_launch({**STEP, "MASTER_ADDR": "10.0.0.1", "MASTER_PORT": "29500"})
    assert launch.rendezvous == "tcp://10.0.0.1:29500"


@pytest.mark.parametrize(
    ("nodes", "first"),
    [
        ("gpu1", "gpu1"),
        ("gpu1,gpu2", "gpu1"),
        ("gpu[07-09,12]", "gpu07"),
        ("gpu[07-09,12],login1", "gpu07"),
        ("login1,gpu[07-09]", "login1"),
        ("rack[2-3]-eth", "rack2-eth"),
        ("a-b.cluster.example", "a-b.cluster.example"),
    ],
)
def test_the_first_node_of_a_list(nodes: str, first: str) -> None:
    assert find_first_node(nodes) == first


@pytest.mark.parametrize("nodes", ["", "[1-2]", "gpu[x]"])
def test_a_list_of_nodes_of_another_form_is_refused(nodes: str) -> None:
    with pytest.raises(ConfigError, match="set MASTER_ADDR"):
        find_first_node(nodes)


@pytest.mark.parametrize(
    "wrong", [{"WORLD_SIZE": "two"}, {"WORLD_SIZE": "2", "RANK": "-1"}, {**STEP, "SLURM_PROCID": "٣"}]
)
def test_what_is_no_number_is_refused_by_name(wrong: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match=r"(WORLD_SIZE|RANK|SLURM_PROCID)=.*expected a number"):
        read_launch(wrong)
