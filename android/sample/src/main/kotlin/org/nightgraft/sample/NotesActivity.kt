package org.nightgraft.sample

import android.app.Activity
import android.content.Intent
import android.os.Bundle
import android.view.ViewGroup.LayoutParams.MATCH_PARENT
import android.view.ViewGroup.LayoutParams.WRAP_CONTENT
import android.widget.Button
import android.widget.EditText
import android.widget.LinearLayout
import android.widget.ScrollView
import android.widget.TextView
import kotlinx.coroutines.CancellationException
import kotlinx.coroutines.CoroutineScope
import kotlinx.coroutines.Job
import kotlinx.coroutines.MainScope
import kotlinx.coroutines.cancel
import kotlinx.coroutines.launch
import org.nightgraft.NothingToDoReason
import org.nightgraft.Phase
import org.nightgraft.Progress

/** One screen: notes go in, the phone trains tonight (or now), a question is answered before and after. */
class NotesActivity : Activity(), CoroutineScope by MainScope() {
    private val notebook by lazy { (application as NotesApplication).notebook }
    private val question by lazy { EditText(this).apply { hint = "Question" } }
    private val answer by lazy { EditText(this).apply { hint = "Answer to learn" } }
    private val status by lazy { TextView(this) }
    private var training: Job? = null

    override fun onCreate(savedInstanceState: Bundle?) {
        super.onCreate(savedInstanceState)
        val column = LinearLayout(this).apply { orientation = LinearLayout.VERTICAL }
        val views =
            listOf(
                button("Choose a model") { startActivityForResult(pick(), PICK_MODEL) },
                question,
                answer,
                button("Keep this note") { working { keep() } },
                button("Train now") { training = working { train() } },
                button("Stop") { training?.cancel() },
                button("Ask, before and after") { working { ask() } },
                status,
            )
        views.forEach { column.addView(it, LinearLayout.LayoutParams(MATCH_PARENT, WRAP_CONTENT)) }
        setContentView(ScrollView(this).apply { addView(column) })
        status.text =
            if (notebook.model.exists()) "It trains tonight, on the charger." else "Choose a GGUF model first."
    }

    override fun onDestroy() {
        // Training that was started here stops, saved; the night goes on with it.
        cancel()
        super.onDestroy()
    }

    @Deprecated("The platform's own way, for an app without libraries")
    override fun onActivityResult(requestCode: Int, resultCode: Int, data: Intent?) {
        val uri = data?.data ?: return
        working {
            status.text = "Copying the model…"
            val stream = checkNotNull(contentResolver.openInputStream(uri)) { "the file cannot be read" }
            stream.use { notebook.importModel(it) }
            status.text = "The model is there."
        }
    }

    private suspend fun keep() {
        val count = notebook.add(question.text.toString(), answer.text.toString())
        answer.text.clear()
        status.text = "$count notes."
    }

    private suspend fun train() = notebook.train().collect { status.text = describe(it) }

    private suspend fun ask() {
        status.text = "Thinking…"
        val (before, after) = notebook.ask(question.text.toString())
        status.text = "Before:\n$before\n\nAfter:\n${after ?: "nothing learned yet"}"
    }

    private fun working(work: suspend () -> Unit): Job = launch {
        try {
            work()
        } catch (cancelled: CancellationException) {
            throw cancelled
        } catch (error: Exception) {
            status.text = "${error.javaClass.simpleName}: ${error.message}"
        }
    }

    private fun button(label: String, action: () -> Unit) =
        Button(this).apply {
            text = label
            setOnClickListener { action() }
        }

    private fun pick() =
        Intent(Intent.ACTION_OPEN_DOCUMENT).addCategory(Intent.CATEGORY_OPENABLE).setType("*/*")

    private companion object {
        const val PICK_MODEL = 1
    }
}

/** Progress in a line. */
internal fun describe(progress: Progress): String =
    when (progress.phase) {
        Phase.PREPARING -> "Preparing…"
        Phase.TRAINING ->
            listOfNotNull(
                "Step ${progress.step} of ${progress.totalSteps}",
                progress.loss?.let { "loss %.3f".format(it) },
                progress.timeLeft?.let { "${it.inWholeMinutes} min left" },
            ).joinToString(", ")
        Phase.JUDGING -> "Judging the result…"
        Phase.WAITING -> progress.waiting?.text ?: "Waiting…"
        Phase.PAUSED -> "Saved; it goes on tonight."
        Phase.FINISHED -> "Finished."
        Phase.NOTHING_TO_DO ->
            when (val reason = progress.nothingToDo) {
                is NothingToDoReason.TooFew -> "${reason.need - reason.have} more notes are needed."
                else -> "Nothing new to learn."
            }
    }
