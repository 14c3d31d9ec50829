package org.nightgraft.sample

import android.Manifest
import android.app.Activity
import android.content.Intent
import android.os.Build
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
import kotlinx.coroutines.MainScope
import kotlinx.coroutines.cancel
import kotlinx.coroutines.flow.filterNotNull
import kotlinx.coroutines.launch
import org.nightgraft.NothingToDoReason
import org.nightgraft.Phase
import org.nightgraft.Progress
import org.nightgraft.work.PersonalizationWorker

/** One screen: notes go in, the phone trains tonight (or now), a question is answered before and after. */
class NotesActivity : Activity(), CoroutineScope by MainScope() {
    private val notebook by lazy { (application as NotesApplication).notebook }
    private val question by lazy { EditText(this).apply { hint = "Question" } }
    private val answer by lazy { EditText(this).apply { hint = "Answer to learn" } }
    private val status by lazy { TextView(this) }

    override fun onCreate(savedInstanceState: Bundle?) {
        super.onCreate(savedInstanceState)
        val column = LinearLayout(this).apply { orientation = LinearLayout.VERTICAL }
        val views =
            listOf(
                button("Choose a model") { startActivityForResult(pick(), PICK_MODEL) },
                question,
                answer,
                button("Keep this note") { working { keep() } },
                button("Train now") { train() },
                button("Stop") { PersonalizationWorker.stopNow(this) },
                button("Ask, before and after") { working { ask() } },
                status,
            )
        views.forEach { column.addView(it, LinearLayout.LayoutParams(MATCH_PARENT, WRAP_CONTENT)) }
        setContentView(ScrollView(this).apply { addView(column) })
        status.text =
            if (notebook.model.exists()) "It trains tonight, on the charger." else "Choose a GGUF model first."
        launch { notebook.training.filterNotNull().collect { status.text = describe(it) } }
    }

    override fun onDestroy() {
        cancel() // Training that was started here goes on.
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

    private fun train() {
        if (Build.VERSION.SDK_INT >= Build.VERSION_CODES.TIRAMISU) {
            // Without it the training goes on all the same, and shows no notification.
            requestPermissions(arrayOf(Manifest.permission.POST_NOTIFICATIONS), ASK_TO_NOTIFY)
        }
        PersonalizationWorker.trainNow(this, NotesWorker::class.java)
    }

    private suspend fun ask() {
        status.text = "Thinking…"
        val (before, after) = notebook.ask(question.text.toString())
        status.text = "Before:\n$before\n\nAfter:\n${after ?: "nothing learned yet"}"
    }

    private fun working(work: suspend () -> Unit) = launch {
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
        const val ASK_TO_NOTIFY = 2
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
